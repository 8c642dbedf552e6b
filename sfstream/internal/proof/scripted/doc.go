// Package scripted has servers that answer what a test says. They are for what sfstreamtest does
// not do, because no server should: replies that are broken, that come in another order or at an
// exact moment. All other tests follow the org of a lab.Lab.
package scripted
