// Package bench measures whole programs, and what they would cost without this library; .ci/bench
// makes tables of it.
package bench
