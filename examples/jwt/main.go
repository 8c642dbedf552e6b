// Command jwt logs in as a server does: a private key proves which app it is, and nothing secret is
// sent (the OAuth JWT bearer flow). Then it follows a channel.
//
//	go run ./examples/jwt
//
// Without a Salesforce account in the environment it makes a key, and a simulated org that trusts
// it. With your own org it is done once, by an admin:
//
//  1. Make a key and its certificate. The key stays on the server; the certificate is no secret.
//
//     openssl req -x509 -newkey rsa:2048 -nodes -days 730 -subj /CN=jwt -keyout server.key -out server.crt
//
//  2. In Setup, External Client App Manager, New External Client App: under API, enable OAuth, with
//     any callback URL and the scopes "api" and "refresh_token, offline_access". Enable JWT Bearer
//     Flow and upload server.crt. Leave JWT-based access tokens off.
//
//  3. In the Policies of the app: the permitted users are those that an admin approves, and the
//     profile or a permission set of the user is selected. The user has API Enabled, and Read on
//     what the channel is about.
//
//  4. Settings, OAuth, has the consumer key. After some minutes the app works:
//
//     export SALESFORCE_CONSUMER_KEY=3MVG9… SALESFORCE_USERNAME=robot@acme.com SALESFORCE_PRIVATE_KEY_FILE=server.key
//     go run ./examples/jwt /data/AccountChangeEvent
//
// SALESFORCE_SANDBOX=true, or a SALESFORCE_LOGIN_URL, leads it to another org than production.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func main() {
	log.SetFlags(0)
	count := flag.Int("count", 3, "end after this `many` messages; 0 means never")
	args := account.Parse("jwt [flags] [CHANNEL]", 1)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *count, args); err != nil && !errors.Is(err, context.Canceled) { // which is Ctrl-C
		log.Fatal("jwt: ", err)
	}
}

func run(ctx context.Context, count int, args []string) error {
	var key []byte // of the org in this process
	account, err := account.Find(func() (org *sfstreamtest.Server, err error) {
		org, key, err = startOrg()
		return org, err
	})
	if err != nil {
		return err
	}
	defer account.Close()
	options, channel := account.Options, "/data/ChangeEvents"
	login, ok := account.Auth.(authenticator.JWTBearer) // which FromEnv makes of the variables above
	if org := account.Org; org != nil {
		options, channel = append(options, sfstream.WithReplay(sfstream.ReplayAll)), orders // which are there already
		login = authenticator.JWTBearer{
			ConsumerKey: org.Account().ConsumerKey,
			Username:    org.Account().Username,
			PrivateKey:  key,
		}
	} else if !ok {
		return errors.New("the environment has another login: set SALESFORCE_PRIVATE_KEY_FILE, SALESFORCE_CONSUMER_KEY and SALESFORCE_USERNAME, " +
			"and SALESFORCE_LOGIN_FLOW=jwt_bearer beside other logins")
	}
	if len(args) == 1 {
		channel = args[0]
	}
	client, err := sfstream.New(login, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return err
	}
	fmt.Printf("Logged in as %s: app %s has signed with its key.\n", login.Username, login.ConsumerKey)
	return follow(ctx, client, channel, count)
}

// follow prints the messages of a channel.
func follow(ctx context.Context, client *sfstream.Client, channel string, count int) error {
	if err := client.Subscribe(ctx, channel); err != nil {
		return err
	}
	fmt.Println("Following", channel)
	seen := 0
	for msg := range client.Messages(ctx) {
		fields, err := msg.Fields()
		if err != nil {
			fmt.Println(err) // only this event is bad: the stream goes on
		} else {
			fmt.Println(msg.EventName(), fields)
		}
		if seen++; seen == count {
			msg.Ack() // otherwise the loop leaves it unhandled
			break
		}
	}
	return client.Err()
}
