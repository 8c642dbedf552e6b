package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

const doctorHelp = `Examines the whole way from this computer to the events of an org, and says what
is wrong and what to fix:

  account      which login it is, and from which variables
  network      names, proxies, certificates, ports 443 and 7443 of the Pub/Sub
               API, and whether gRPC gets through
  clock        of this computer, by that of Salesforce
  login        and whether the Pub/Sub API takes it
  org          name, user, sandbox or not, API version
  quota        what is left, and how long that lasts at the rate of the last 24
               hours, over which Salesforce counts; an hour, or a month of the
               contract, where its name says so
  end of life  what of this Salesforce will switch off, and when
  /CHANNEL     which API serves it, whether the user may subscribe and publish,
               and its schema

It goes on after a failure with all that does not depend on what failed. It
changes nothing; to a channel of the Streaming API it subscribes for a moment.
It takes 30 seconds at most. The exit status is 1 if something is wrong.
`

// doctorTimeout bounds a whole examination.
const doctorTimeout = 30 * time.Second

// doctorFlags is a run of sfstream doctor.
type doctorFlags struct {
	json    bool
	account accountFlags
	world   world
}

func (f *doctorFlags) register(flags *flag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "print the findings as one JSON object")
	f.account.register(flags)
}

func (f *doctorFlags) run(ctx context.Context, channels []string, stdout, stderr io.Writer) error {
	if err := f.account.check("doctor"); err != nil {
		return err
	}
	for _, channel := range channels {
		if !isChannel(channel) {
			return usageError{fmt.Sprintf("sfstream doctor: %q is no channel: want /event/Name__e, /data/NameChangeEvent, /topic/Name or /u/Name", channel)}
		}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	p := &patient{world: f.world, channels: channels, progress: &progress{w: stderr}, secrets: environmentSecrets()}
	if p.world.http == nil {
		p.world = theWorld()
	}
	p.source = f.account.source()
	defer f.account.finish()
	p.account, p.accountErr = f.account.account()
	defer p.close()

	r := &report{Findings: []finding{}}
	for _, check := range checks() {
		over := ctx.Err() != nil // a check would blame its time on what it looks at
		all := []finding{found("doctor", untried, "what is left: its %s are over", doctorTimeout)}
		if !over {
			all = check(ctx, p)
		}
		if parent.Err() != nil {
			return errors.New("doctor: interrupted")
		}
		r.Findings = append(r.Findings, all...)
		for _, found := range all {
			if f.json {
				break
			}
			if err := p.print(stdout, func(w io.Writer) error { return printFinding(w, found) }); err != nil {
				return err
			}
		}
		if over {
			break
		}
	}
	r.OK = r.count(wrong) == 0
	if f.json {
		if err := p.print(stdout, r.printJSON); err != nil {
			return err
		}
	}
	return r.err()
}

// checks returns all checks. Each knows from the patient what earlier ones have found.
func checks() []func(context.Context, *patient) []finding {
	return []func(context.Context, *patient) []finding{
		checkAccount, checkProxy, checkLoginHost, checkClock, checkPubSub, checkLogin, checkPubSubLogin,
		checkOrg, checkQuotas, checkEnds, checkChannels,
	}
}

// patient is what doctor examines, and what earlier checks have found that later ones need.
type patient struct {
	world      world
	account    account
	accountErr error
	source     string // the flag or variable that says where to log in, empty if none does
	channels   []string
	progress   *progress
	secrets    secrets

	flow   string // as SALESFORCE_LOGIN_FLOW names it
	broken bool   // the proxy variables cannot be understood
	host   loginHost
	bus    busState
	client *sfstream.Client           // nil: there is no login
	creds  *authenticator.Credentials // nil: there is no login
	org    orgState
}

// busState is what is known of the Pub/Sub API.
type busState struct {
	conn    *grpc.ClientConn
	reached bool // gRPC gets through
	refused bool // it does not take the login
}

// close ends what the checks have opened. Nothing that it could fail at is of interest any more.
func (p *patient) close() {
	p.progress.done()
	if p.client != nil {
		_ = p.client.Close()
	}
	if p.bus.conn != nil {
		_ = p.bus.conn.Close()
	}
	p.world.http.CloseIdleConnections()
}

// print writes what do writes, without secrets.
func (p *patient) print(w io.Writer, do func(io.Writer) error) error {
	var b strings.Builder
	if err := do(&b); err != nil {
		return err
	}
	_, err := io.WriteString(w, p.secrets.hide(b.String()))
	return err
}

// isChannel reports whether a channel has the form of one.
func isChannel(channel string) bool {
	bare, _, _ := strings.Cut(channel, "?") // the filter of a PushTopic
	return slices.ContainsFunc([]string{"/event/", "/data/", "/topic/", "/u/"}, func(prefix string) bool {
		name, ok := strings.CutPrefix(bare, prefix)
		return ok && name != "" && !strings.ContainsAny(name, "*\n\r\t ")
	})
}

// slow is how long a step takes before doctor says what it waits for.
const slow = 2 * time.Second

// progress tells people what is being tried, if that takes long.
type progress struct {
	w     io.Writer
	mu    sync.Mutex // guards w and all below
	timer *time.Timer
}

// trying begins a step, which ends the one before.
func (p *progress) trying(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(slow, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer != nil {
			fmt.Fprintln(p.w, "sfstream doctor: still trying to", text)
		}
	})
}

// done ends the last step. Nothing is written after it has returned.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
