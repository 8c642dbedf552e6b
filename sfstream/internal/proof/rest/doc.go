// Package rest holds tests of what programs do with an org by REST: Do, Query, records and Refetch.
package rest
