package main

import "strings"

// inWords says a text of the library in the words of the command line: flags and variables in place
// of options and fields.
func inWords(text string) string { return phrases.Replace(strings.TrimPrefix(text, "sfstream: ")) }

var phrases = strings.NewReplacer(
	"choose WithReplayFallback, or start elsewhere with From", "-fallback all or new goes on elsewhere",
	"WithReplayFallback", "-fallback", "cluster.WithLease", "-lease", "cluster.WithSaveInterval", "-save", "cluster.WithName", "-name",
	"cluster.WithPrefix", "-prefix", "WithLoginURL", "-login-url", "WithPubSubEndpoint", "SALESFORCE_PUBSUB_ENDPOINT",
	"check consumer key and private key", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_PRIVATE_KEY",
	"check consumer key and consumer secret", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_CONSUMER_SECRET",
	"check consumer key and username", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_USERNAME",
	"check username, password and security token", "check SALESFORCE_USERNAME, SALESFORCE_PASSWORD and SALESFORCE_SECURITY_TOKEN",
	"see WithReplayStore", "see -replay and -register", "WithDeadLetter", "-dead-letter",
	"; make a new client", "; start the program again", "sfstream: invalid option: ", "",
	"ConsumerKey", "SALESFORCE_CONSUMER_KEY", "ConsumerSecret", "SALESFORCE_CONSUMER_SECRET", "PrivateKey", "SALESFORCE_PRIVATE_KEY",
	"SecurityToken", "SALESFORCE_SECURITY_TOKEN", "ProductionURL", "https://login.salesforce.com", "SandboxURL", "https://test.salesforce.com",
)
