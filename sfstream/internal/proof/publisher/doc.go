// Package publisher has the tests of sfstream.Publisher as programs use it: against an org in
// memory with faults, and in processes that are killed.
package publisher
