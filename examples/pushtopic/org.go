package main

import "github.com/sfstream/sfstream-go/sfstream/sfstreamtest"

// startOrg starts a simulated org in this process, which has contacts.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	return org, org.DefineObject("Contact",
		sfstreamtest.Field{Name: "LastName", Type: "Text"},
		sfstreamtest.Field{Name: "Phone", Type: "Phone"},
		sfstreamtest.Field{Name: "Title", Type: "Text"},
		sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"})
}
