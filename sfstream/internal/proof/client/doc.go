// Package client holds tests of what programs call: messages and their decoding, Run, transactions,
// errors, and that nothing shows a secret.
package client
