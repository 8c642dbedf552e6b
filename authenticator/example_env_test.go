package authenticator_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"golang.org/x/oauth2"

	"github.com/sfstream/sfstream-go/authenticator"
)

// The environment says how to log in and where. A client of Salesforce's events gets both:
// sfstream.New(auth, sfstream.WithLoginURL(loginURL)).
func ExampleFromEnv() {
	for name, value := range map[string]string{ // set outside of the program
		"SALESFORCE_CONSUMER_KEY":    "3MVG9",
		"SALESFORCE_CONSUMER_SECRET": "secret",
		"SALESFORCE_LOGIN_URL":       "https://acme.my.salesforce.com",
	} {
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}

	auth, loginURL, err := authenticator.FromEnv()
	fmt.Println(auth)
	fmt.Println(loginURL, err)
	// Output:
	// authenticator.ClientCredentials{ConsumerKey: "3MVG9", ConsumerSecret: "[redacted]"}
	// https://acme.my.salesforce.com <nil>
}

// REST calls with the login that the events come with, from one cache.
func ExampleTokenSource() {
	org := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.URL.Path, " with ", r.Header.Get("Authorization"))
	}))
	defer org.Close()
	ctx := context.Background()

	cache := authenticator.NewCache(authenticator.Static{AccessToken: "token", InstanceURL: org.URL, OrgID: orgID})
	source := authenticator.TokenSource(ctx, cache, authenticator.Login{})
	token, err := source.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	instanceURL := token.Extra("instance_url").(string)

	rest := oauth2.NewClient(ctx, source)
	reply, err := rest.Get(instanceURL + "/services/data/v62.0/limits")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(reply.Body)
	fmt.Println(string(body))
	// Output: /services/data/v62.0/limits with Bearer token
}
