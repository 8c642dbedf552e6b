// Package contract proves the delivery contract of package sfstream, sentence by sentence, on both
// transports.
package contract
