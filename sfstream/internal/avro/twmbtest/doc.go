// Package twmbtest compares the encoder of package avro with github.com/twmb/avro, the second of
// its oracles beside hamba/avro. It is a module of its own so that the library does not depend on
// twmb/avro.
package twmbtest
