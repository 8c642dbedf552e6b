// Package interop holds tests against parts that others wrote: our client against two Bayeux
// servers, and clients of both APIs, with their logins, against package sfstreamtest. They need
// node and what package-lock.json names; see README.md.
package interop
