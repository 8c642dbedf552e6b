// Package channels holds tests of services that declare what they receive.
package channels
