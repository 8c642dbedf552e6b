package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orgLine is the first line on stdout: all that a program needs to connect.
type orgLine struct {
	LoginURL       string `json:"login_url"`
	InstanceURL    string `json:"instance_url"`
	PubSub         string `json:"pubsub"` // the value for SALESFORCE_PUBSUB_ENDPOINT
	ControlURL     string `json:"control_url,omitempty"`
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
	http, pubsub, control string
	url, pubsubURL, names string
	tls                   bool
	ca, key, keep         string
	define                []string
	demo, env             bool
	rate                  float64
	off                   string
	rotate                bool
	seed                  *uint64
	more                  []sfstreamtest.Option // those of orgOptions
}

const testorgHelp = `Serves a simulated Salesforce org until it is interrupted. When it is ready, the
first line on standard output tells how to connect, as JSON. Without -demo or
-define the org has no channels: requests to the control API define events,
publish them, and make things go wrong. GET {control_url}/control/ tells all of
them.

In a shell, -env makes other commands use the org:

  rm -f org.env; sfstream testorg -demo -env >org.env &
  while kill -0 $! && [ ! -s org.env ]; do sleep 0.1; done; . ./org.env
  sfstream tail /event/Order__e
  kill "$TESTORG_PID"

With -tls, SSL_CERT_FILE="$TESTORG_CA_FILE" makes tail trust the org.
https://github.com/sfstream/sfstream-go/blob/main/sfstream/docs/testorg.md is
about programs in Node, Python and Java, and about the control API.
`

func (f *testorgFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.http, "http", "127.0.0.1:8080", "`address` of logins, REST and the Streaming API; clients are told its host, such as localhost, see -url")
	flags.StringVar(&f.pubsub, "pubsub", "127.0.0.1:7011", "`address` of the Pub/Sub API")
	flags.StringVar(&f.control, "control", "127.0.0.1:8081", "`address` of the control API, which whoever reaches it may use; empty for none")
	flags.StringVar(&f.url, "url", "", "the `URL` that clients are told in place of -http, such as http://org.test:8080; further ones behind commas are where MoveInstance moves to. Many clients send tokens to loopback only unless it is https: use -tls then")
	flags.StringVar(&f.pubsubURL, "pubsub-url", "", "the `URL` that clients are told in place of -pubsub (default: the host of -url where -pubsub is 0.0.0.0)")
	flags.StringVar(&f.names, "names", "", "further host `names`, with commas between, for the certificate and for the control API, which answers to names that it knows")
	flags.BoolVar(&f.tls, "tls", false, "serve with TLS; the first line names, as ca_file, a file with the certificate authority")
	flags.Var(filled(&f.ca), "ca", "keep the certificate authority of -tls, with its key, in this `file`, which is made where there is none; its certificate alone is beside it, with .crt behind the name")
	flags.Var(filled(&f.key), "key", "`file` of the app's private key for the JWT bearer flow (PEM, RSA); it is made where there is none (default a file that is deleted when the org ends)")
	flags.Var(filled(&f.keep), "keep", "keep definitions and events in this `file` of JSON lines, so that they and their replay ids survive a restart")
	flags.Func("seed", "make the org reproducible: for one `number` the same requests get the same ids, tokens and dates; its clock begins at 2026-01-01 and moves with events only", func(value string) error {
		seed, err := strconv.ParseUint(value, 10, 64)
		f.seed = &seed
		if err != nil {
			return errors.New("is not a whole number from 0 on")
		}
		return nil
	})
	flags.BoolVar(&f.env, "env", false, "print, in place of the JSON, lines for a shell that export the variables of other commands")
	flags.Func("define", "`file` of definitions to begin with, as the control API takes them: a JSON object or an array of objects; or a folder of *.json; the flag can be there several times", func(path string) error {
		f.define = append(f.define, path)
		return filled(&path).Set(path)
	})
	flags.BoolVar(&f.demo, "demo", false, "publish a stream on /data/AccountChangeEvent, /data/OpportunityChangeEvent and /event/Order__e")
	flags.Float64Var(&f.rate, "rate", 2, "publish `n` events per second with -demo")
	flags.StringVar(&f.off, "off", "", "`flows` of login that the org has switched off, with commas between: password, soap, client-credentials, jwt-bearer")
	flags.BoolVar(&f.rotate, "rotate", false, "rotate refresh tokens: each login brings a new one, and an old one revokes all")
	for _, group := range orgOptions() {
		for _, o := range group.list {
			o.register(flags, func(option sfstreamtest.Option) { f.more = append(f.more, option) })
		}
	}
}

// flagGroups returns the groups of the help.
func (f *testorgFlags) flagGroups() []flagGroup {
	groups := []flagGroup{
		{"Where it is", []string{"http", "pubsub", "control", "url", "pubsub-url", "names", "tls", "ca"}},
		{"What it has, and tells", []string{"define", "demo", "rate", "keep", "seed", "env"}},
	}
	for _, options := range orgOptions() {
		group := flagGroup{title: options.title}
		if group.title == "Logins" {
			group.names = []string{"key", "off", "rotate"}
		}
		for _, o := range options.list {
			group.names = append(group.names, o.name)
		}
		groups = append(groups, group)
	}
	return groups
}

// list returns the parts of a flag's value that commas separate.
func list(value string) []string {
	var parts []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// options returns what the flags say to sfstreamtest.
func (f *testorgFlags) options() ([]sfstreamtest.Option, error) {
	options := []sfstreamtest.Option{
		sfstreamtest.WithHTTPAddr(f.http), sfstreamtest.WithPubSubAddr(f.pubsub), sfstreamtest.WithControlAddr(f.control),
		sfstreamtest.WithNames(list(f.names)...),
	}
	if urls := list(f.url); len(urls) > 0 {
		options = append(options, sfstreamtest.WithURL(urls[0], urls[1:]...))
	}
	if f.pubsubURL != "" {
		options = append(options, sfstreamtest.WithPubSubURL(f.pubsubURL))
	}
	switch {
	case f.tls:
		options = append(options, sfstreamtest.WithTLS(), sfstreamtest.WithCA(f.ca))
	case f.ca != "":
		return nil, usageError{"sfstream testorg: -ca is of use with -tls only"}
	}
	for _, name := range list(f.off) {
		flow := sfstreamtest.LoginFlow(name)
		switch flow {
		case sfstreamtest.PasswordFlow, sfstreamtest.SOAPFlow, sfstreamtest.ClientCredentialsFlow, sfstreamtest.JWTBearerFlow:
		default:
			return nil, usageError{fmt.Sprintf("sfstream testorg: -off: %q is none of password, soap, client-credentials, jwt-bearer", flow)}
		}
		options = append(options, sfstreamtest.WithoutLoginFlow(flow))
	}
	if f.rotate {
		options = append(options, sfstreamtest.WithRefreshRotation())
	}
	if f.keep != "" {
		options = append(options, sfstreamtest.WithLog(f.keep))
	}
	if f.seed != nil {
		options = append(options, sfstreamtest.WithSeed(*f.seed))
	}
	options = append(options, f.more...)
	if !(f.rate > 0 && f.rate <= 10_000) {
		return nil, usageError{"sfstream testorg: -rate is not between 0 and 10000"}
	}
	if err := sfstreamtest.Validate(options...); err != nil {
		return nil, usageError{"sfstream testorg: " + inFlags(err)}
	}
	return options, nil
}

// inFlags says an error of sfstreamtest in words of the command line.
func inFlags(err error) string {
	flagOf := map[string]string{
		"WithHTTPAddr": "-http", "WithPubSubAddr": "-pubsub", "WithControlAddr": "-control", "WithURL": "-url",
		"WithPubSubURL": "-pubsub-url", "WithNames": "-names", "WithCA": "-ca", "WithLog": "-keep",
	}
	for _, group := range orgOptions() {
		for _, o := range group.list {
			flagOf[o.goName()] = "-" + o.name
		}
	}
	text := regexp.MustCompile(`With\w+(\([^)]*\))?`).ReplaceAllStringFunc(err.Error(), func(option string) string {
		name, value, _ := strings.Cut(option, "(")
		name = cmp.Or(flagOf[name], flagOf[strings.ToLower(name)], name)
		return strings.TrimSpace(name + " " + strings.Trim(value, `")`))
	})
	return strings.TrimPrefix(text, "sfstreamtest: ")
}

func (f *testorgFlags) run(ctx context.Context, _ []string, stdout, stderr io.Writer) (err error) {
	options, err := f.options()
	if err != nil {
		return err
	}
	definitions, err := readDefinitions(ctx, f.define)
	if err != nil {
		return fmt.Errorf("testorg: %w", err)
	}
	dir, err := os.MkdirTemp("", "sfstream-testorg-") // it has mode 0700, for the private key
	if err != nil {
		return err
	}
	defer func() { err = joined(err, os.RemoveAll(dir)) }()
	// Who reads the first line may be in another folder.
	keyFile, err := filepath.Abs(cmp.Or(f.key, filepath.Join(dir, "key.pem")))
	if err != nil {
		return err
	}
	public, err := appKey(keyFile)
	if err != nil {
		return fmt.Errorf("testorg: -key: %w", err)
	}
	org, err := sfstreamtest.Start(append(options, sfstreamtest.WithPublicKeys(public))...)
	if errors.Is(err, syscall.EADDRINUSE) {
		address, _, _ := strings.Cut(inFlags(err), ": listen ")
		return fmt.Errorf("testorg: %s: another program has this port; choose another one, or 0 for a free one", address)
	}
	if err != nil {
		return fmt.Errorf("testorg: %s", inFlags(err))
	}
	defer func() { err = joined(err, org.Close()) }()

	account := org.Account()
	line := orgLine{
		LoginURL: org.LoginURL(), InstanceURL: org.LoginURL(), PubSub: org.PubSubEndpoint(), ControlURL: org.ControlURL(), OrgID: account.OrgID,
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: account.Username, Password: account.Password + account.SecurityToken, RefreshToken: account.RefreshToken,
		PrivateKeyFile: keyFile,
	}
	if f.tls {
		if line.CAFile, err = f.writeCA(org, dir); err != nil {
			return err
		}
	}
	if err := define(org, definitions); err != nil {
		return fmt.Errorf("testorg: %w", err)
	}
	demo := newDemo(org, f.seed)
	if f.demo {
		if err := demo.define(); err != nil {
			return err
		}
	}
	if err := f.tell(stdout, line); err != nil {
		return err
	}
	fmt.Fprintln(stderr, "sfstream: serving a simulated org; Ctrl-C ends it")
	if f.demo {
		demo.publish(ctx, f.rate, stderr)
	}
	<-ctx.Done()
	return nil
}

// writeCA writes the certificate of the authority into a file, beside that of -ca if there is one,
// and returns its path.
func (f *testorgFlags) writeCA(org *sfstreamtest.Server, dir string) (path string, err error) {
	path = filepath.Join(dir, "ca.pem")
	if f.ca == "" {
		return path, writeNew(path, org.CertPEM())
	}
	if path, err = filepath.Abs(f.ca + ".crt"); err != nil {
		return "", err
	}
	if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, org.CertPEM()) {
		return path, nil
	}
	// Clients of other users may read it too: a certificate is no secret.
	return path, os.WriteFile(path, org.CertPEM(), 0o644)
}
