// Package groups holds a second opinion on events that share a replay id: servers written from what
// Salesforce documents and without a look at package sfstreamtest, and an exact model of what a
// program may see of them.
package groups
