package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orgLine is the first line on stdout: all that a program needs to connect.
type orgLine struct {
	LoginURL       string `json:"login_url"`
	InstanceURL    string `json:"instance_url"`
	PubSub         string `json:"pubsub"` // the value for SALESFORCE_PUBSUB_ENDPOINT
	OrgID          string `json:"org_id"`
	ConsumerKey    string `json:"consumer_key"`
	ConsumerSecret string `json:"consumer_secret"`
	Username       string `json:"username"`
	Password       string `json:"password"` // followed by the security token, as the token endpoint wants it
	RefreshToken   string `json:"refresh_token"`
	PrivateKeyFile string `json:"private_key_file"` // the path of a PEM file, for the JWT bearer flow
	CAFile         string `json:"ca_file,omitempty"`
}

// testorgFlags are the flags of sfstream testorg.
type testorgFlags struct {
	http, pubsub string
	tls, demo    bool
	rate         float64
	key, off     string
	rotate       bool
	log          string
}

const testorgHelp = `Serves a simulated Salesforce org until it is interrupted. The first line on
standard output tells how to connect, as JSON. Without -demo the org has no
channels: POST requests with JSON to {login_url}/control/define,
/control/publish and /control/fault define events, publish them, and make things
go wrong. "go doc
github.com/sfstream/sfstream-go/sfstream/sfstreamtest.WithControl" has their
fields.
`

func (f *testorgFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.http, "http", "127.0.0.1:8080", "`address` of logins, the Streaming API and /control")
	flags.StringVar(&f.pubsub, "pubsub", "127.0.0.1:7011", "`address` of the Pub/Sub API")
	flags.BoolVar(&f.tls, "tls", false, "serve with TLS; the first line names, as ca_file, a file with the certificate authority")
	flags.BoolVar(&f.demo, "demo", false, "publish a stream on /data/AccountChangeEvent, /data/OpportunityChangeEvent and /event/Order_Event__e")
	flags.Float64Var(&f.rate, "rate", 2, "publish `n` events per second with -demo")
	flags.StringVar(&f.key, "key", "", "`file` of the app's private key for the JWT bearer flow (PEM, RSA); it is made where there is none (default a file that is deleted when the org ends)")
	flags.StringVar(&f.off, "off", "", "`flows` of login that the org has switched off, with commas between: password, soap, client-credentials, jwt-bearer")
	flags.BoolVar(&f.rotate, "rotate", false, "rotate refresh tokens: each login brings a new one, and an old one revokes all")
	flags.StringVar(&f.log, "log", "", "keep the org's events in this `file`, so that they survive a restart")
}

func (f *testorgFlags) run(ctx context.Context, _ []string, stdout, stderr io.Writer) (err error) {
	if !(f.rate > 0 && f.rate <= 10_000) {
		return usageError{"sfstream testorg: -rate is not between 0 and 10000"}
	}
	options := []sfstreamtest.Option{
		sfstreamtest.WithHTTPAddr(f.http), sfstreamtest.WithPubSubAddr(f.pubsub), sfstreamtest.WithControl(),
	}
	if f.tls {
		options = append(options, sfstreamtest.WithTLS())
	}
	if f.off != "" {
		for name := range strings.SplitSeq(f.off, ",") {
			flow := sfstreamtest.LoginFlow(strings.TrimSpace(name))
			switch flow {
			case sfstreamtest.PasswordFlow, sfstreamtest.SOAPFlow, sfstreamtest.ClientCredentialsFlow, sfstreamtest.JWTBearerFlow:
			default:
				return usageError{fmt.Sprintf("sfstream testorg: -off: %q is none of password, soap, client-credentials, jwt-bearer", flow)}
			}
			options = append(options, sfstreamtest.WithoutLoginFlow(flow))
		}
	}
	if f.rotate {
		options = append(options, sfstreamtest.WithRefreshRotation())
	}
	if f.log != "" {
		options = append(options, sfstreamtest.WithLog(f.log))
	}
	dir, err := os.MkdirTemp("", "sfstream-testorg-") // it has mode 0700, for the private key
	if err != nil {
		return err
	}
	defer func() { err = joined(err, os.RemoveAll(dir)) }()
	keyFile := cmp.Or(f.key, filepath.Join(dir, "key.pem"))
	public, err := appKey(keyFile)
	if err != nil {
		return err
	}
	options = append(options, sfstreamtest.WithPublicKeys(public))
	org, err := sfstreamtest.Start(options...)
	if err != nil {
		return err
	}
	defer func() { err = joined(err, org.Close()) }()

	account := org.Account()
	line := orgLine{
		LoginURL: org.LoginURL(), InstanceURL: org.LoginURL(), PubSub: org.PubSubEndpoint(), OrgID: account.OrgID,
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: account.Username, Password: account.Password + account.SecurityToken, RefreshToken: account.RefreshToken,
		PrivateKeyFile: keyFile,
	}
	if f.tls {
		line.CAFile = filepath.Join(dir, "ca.pem")
		if err := writeNew(line.CAFile, org.CertPEM()); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		return err
	}
	fmt.Fprintln(stderr, "sfstream: serving a simulated org; Ctrl-C ends it")
	if f.demo {
		return publishDemo(ctx, org, f.rate)
	}
	<-ctx.Done()
	return nil
}
