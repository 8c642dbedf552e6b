package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orders = "/event/Order__e"

// startOrg makes a key, as openssl does, and starts a simulated org in this process whose app
// trusts it. Three orders are there already.
func startOrg() (org *sfstreamtest.Server, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	org, err = sfstreamtest.Start(sfstreamtest.WithPublicKeys(&private.PublicKey))
	if err != nil {
		return nil, nil, err
	}
	err = org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`)
	for n := range 3 {
		_, published := org.Publish(orders, map[string]any{"Number__c": fmt.Sprintf("A-%d", n+1)})
		err = errors.Join(err, published)
	}
	return org, key, err
}
