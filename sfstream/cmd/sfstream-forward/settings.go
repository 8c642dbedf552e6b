package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// settings are what flags, the file of -config and variables say.
type settings struct {
	sink, register string // URLs, without the variables
	channels       []string

	from, fallback     string
	cometd             bool
	sandbox            bool
	loginURL           string
	envelope           string
	order              string
	lanes, batch       int
	deadLetter         string
	replay             string
	name, prefix       string
	lease, save, drain time.Duration
	health             string
	logFormat          string
	verbose            bool
	checkOnly, version bool

	to, shared address // of sink and register, with what the variables have
}

// words are the values of flags that take one of some; the first one is the default.
var words = map[string][]string{
	"from":     {"new", "all"},
	"fallback": {"fail", "all", "new"},
	"envelope": {"json", "cloudevents", "cloudevents-binary", "raw"},
	"order":    {"record", "channel"},
	"log":      {"json", "text"},
}

// notInFile are the flags that no file has.
var notInFile = []string{"config", "check", "version"}

func (s *settings) define(flags *flag.FlagSet, file *string) {
	one := func(value *string, name, usage string) {
		*value = words[name][0]
		flags.Func(name, "`"+words[name][0]+"`, or "+strings.Join(words[name][1:], ", ")+": "+usage, func(word string) error {
			if !slices.Contains(words[name], word) {
				return errors.New("it is none of " + strings.Join(words[name], ", "))
			}
			*value = word
			return nil
		})
	}
	flags.StringVar(file, "config", "", "read all that follows from this JSON `file`, too: a field for each flag, and channels, a list")
	flags.StringVar(&s.sink, "sink", "", "forward to this queue, a `URL`; without it SFSTREAM_SINK")
	flags.StringVar(&s.register, "register", "", "share the channels with other replicas by this register, a `URL`; without it SFSTREAM_REGISTER")
	flags.StringVar(&s.replay, "replay", "", "without a register: keep replay markers in this `file`")
	one(&s.from, "from", "where to start without a marker")
	one(&s.fallback, "fallback", "where to go on if Salesforce does not know the replay id any more: nowhere, or with what is retained, or with new events")
	one(&s.envelope, "envelope", "the form of what is forwarded")
	one(&s.order, "order", "what is kept in order: the changes of each record, or all of a channel")
	flags.IntVar(&s.lanes, "lanes", 1, "send `n` batches at once, each with other keys")
	flags.IntVar(&s.batch, "batch", 500, "put at most `n` events into a batch")
	flags.StringVar(&s.deadLetter, "dead-letter", "", "append events that the queue will never take to this `file`, and go on; without it they end the program")
	flags.BoolVar(&s.cometd, "cometd", false, "use the Streaming API for /event and /data too")
	flags.BoolVar(&s.sandbox, "sandbox", false, "log in at test.salesforce.com")
	flags.StringVar(&s.loginURL, "login-url", "", "log in at this `URL`, and not where SALESFORCE_LOGIN_URL says")
	flags.StringVar(&s.name, "name", "", "the `name` of this replica among those of the register; the host's name unless it is set")
	flags.StringVar(&s.prefix, "prefix", "", "what the register's keys begin with: replicas with another `prefix` get the same events again")
	flags.DurationVar(&s.lease, "lease", 10*time.Second, "the `duration` for which a channel belongs to a replica that does not answer any more")
	flags.DurationVar(&s.save, "save", 0, "write the register at most once in this `duration`, by default a second: what is forwarded meanwhile comes again after a crash")
	flags.DurationVar(&s.drain, "drain", 10*time.Second, "the `duration` for which a batch may still wait for its acks after SIGTERM")
	flags.StringVar(&s.health, "health", "", "answer the probes /livez and /readyz at this `address`, as :8080")
	one(&s.logFormat, "log", "the form of the log")
	flags.BoolVar(&s.verbose, "v", false, "log at debug level")
	flags.BoolVar(&s.checkOnly, "check", false, "check the configuration, log in, ask the queue, the register and the channels, and end")
	flags.BoolVar(&s.version, "version", false, "print which release this is")
}

// readSettings reads flags and the file that -config names. Flags come before its fields.
func readSettings(args []string) (*settings, error) {
	s, file := new(settings), ""
	flags := newFlags(s, &file)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, mistaken("%v; -h lists the flags", err)
	}
	s.channels = flags.Args()
	if i := slices.IndexFunc(s.channels, func(arg string) bool { return strings.HasPrefix(arg, "-") }); i >= 0 {
		return nil, mistaken("%s is behind a channel: flags come first", s.channels[i])
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, mistaken("-config: %v", err)
		}
		if err := s.readFile(flags, text); err != nil {
			return nil, mistaken("-config %s: %v", file, err)
		}
	}
	return s, nil
}

func newFlags(s *settings, file *string) *flag.FlagSet {
	flags := flag.NewFlagSet("sfstream-forward", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the flag package would print all flags below each mistake
	flags.Usage = func() {}
	s.define(flags, file)
	return flags
}

// readFile sets those of the flags that were not given.
func (s *settings) readFile(flags *flag.FlagSet, text []byte) error {
	given := map[string]bool{"channels": len(s.channels) > 0}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	fields, err := fieldsOf(bytes.TrimPrefix(text, []byte("\ufeff")))
	if err != nil {
		return err
	}
	for _, field := range fields {
		switch f := flags.Lookup(field.name); {
		case field.name == "channels":
			var channels []string
			if err := json.Unmarshal(field.value, &channels); err != nil {
				return fmt.Errorf("channels: want a list of texts")
			}
			if !given["channels"] {
				s.channels = channels
			}
		case f == nil || slices.Contains(notInFile, field.name):
			return fmt.Errorf("%q is no field: the fields are channels and the flags, which -h lists", field.name)
		default:
			value, err := asFlag(field.value)
			if err != nil {
				return fmt.Errorf("%s: %w", field.name, err)
			}
			if given[field.name] {
				continue
			}
			if err := f.Value.Set(value); err != nil {
				return fmt.Errorf("%s: %q: %w", field.name, value, inJSON(f, err))
			}
		}
	}
	return nil
}

// inJSON returns why a flag refuses a value. Package flag says "parse error" where it is not its form.
func inJSON(f *flag.Flag, err error) error {
	kind, _ := flag.UnquoteUsage(f)
	switch {
	case kind == "duration":
		return errors.New(`want a text with units, such as "10s" or "1m30s"`)
	case kind == "n":
		return errors.New("want a whole number")
	case kind == "":
		return errors.New("want true or false")
	}
	return err
}

type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf returns the fields of a JSON object, in order. It refuses a field that is there twice.
func fieldsOf(text []byte) ([]field, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	var fields []field
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: fmt.Sprint(name)}
		if err := d.Decode(&f.value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if slices.ContainsFunc(fields, func(other field) bool { return other.name == f.name }) {
			return nil, fmt.Errorf("%q is there twice", f.name)
		}
		fields = append(fields, f)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("it ends within the object, or is no JSON there")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON object")
	}
	return fields, nil
}

// asFlag returns a text, a number or a boolean as a flag has it.
func asFlag(value json.RawMessage) (string, error) {
	var text string
	switch {
	case json.Unmarshal(value, &text) == nil && string(value) != "null":
		return text, nil
	case bytes.ContainsAny(value[:1], "[{n"):
		return "", errors.New("want a text, a number, true or false")
	}
	return string(value), nil
}

// check finds the mistakes that can be found without the network.
func (s *settings) check() error {
	var err error
	if s.to, err = addressOf("sink", s.sink, sinks.schemes()); err != nil {
		return err
	}
	if s.shared, err = addressOf("register", s.register, registers.schemes()); err != nil {
		return err
	}
	switch {
	case s.to.scheme == "":
		return mistaken("there is no -sink: it is one of %s", sinks.forms())
	case len(s.channels) == 0:
		return mistaken("there is no channel, such as /data/AccountChangeEvent")
	case s.shared.scheme != "" && s.replay != "":
		return mistaken("-register and -replay exclude each other: a register has the markers")
	case s.shared.scheme == "" && s.replay == "":
		return mistaken("nothing keeps the replay markers: name a -register, which replicas can share, or a file for one program by -replay")
	case s.shared.scheme == "" && (s.name != "" || s.prefix != ""):
		return mistaken("-name and -prefix are those of a replica, and there is no -register")
	case s.shared.scheme == "" && s.save != 0:
		return mistaken("-save is about a register, and there is no -register")
	case s.sandbox && s.loginURL != "":
		return mistaken("-sandbox and -login-url exclude each other")
	case s.lanes < 1, s.batch < 1:
		return mistaken("-lanes and -batch must be at least 1")
	case s.save < 0, s.drain < 0:
		return mistaken("-save and -drain must not be negative")
	}
	return errors.Join(s.checkChannelNames(), s.checkPlaces(), s.checkReplica())
}

// checkChannelNames is about what no channel is called, in any org.
func (s *settings) checkChannelNames() error {
	for i, channel := range s.channels {
		if !strings.HasPrefix(channel, "/") {
			return mistaken("%q is no channel: want /event/Name__e, /data/NameChangeEvent, /topic/Name or /u/Name", channel)
		}
		if slices.Contains(s.channels[:i], channel) {
			return mistaken("the channel %s is there twice", channel)
		}
	}
	return nil
}

// checkPlaces is about the address and the folders of files. It makes nothing.
func (s *settings) checkPlaces() error {
	if s.health != "" {
		_, port, err := net.SplitHostPort(s.health)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return mistaken("-health %q is no address: want host:port, or :8080 for all of this computer", s.health)
		}
	}
	for _, file := range []struct{ flag, path string }{{"replay", s.replay}, {"dead-letter", s.deadLetter}} {
		folder := filepath.Dir(file.path)
		if info, err := os.Stat(folder); file.path != "" && (err != nil || !info.IsDir()) {
			return mistaken("-%s %s: there is no folder %s: make it, or mount it", file.flag, file.path, folder)
		}
	}
	return nil
}

// checkReplica makes a replica that is never run, for what package cluster refuses.
func (s *settings) checkReplica() error {
	if s.shared.scheme == "" {
		return nil
	}
	none := func(...sfstream.Option) (*sfstream.Client, error) { return nil, errors.ErrUnsupported }
	_, err := cluster.New(none, s.channels, struct{ replaystore.Register }{}, s.clusterOptions()...)
	return err
}

// clientOptions are those of each client, but for what is kept of it.
func (s *settings) clientOptions() []sfstream.Option {
	start := map[string]sfstream.Replay{"new": sfstream.ReplayNew, "all": sfstream.ReplayAll}[s.from]
	fallback := map[string]sfstream.Fallback{"fail": sfstream.FallbackFail, "all": sfstream.FallbackAll, "new": sfstream.FallbackNew}[s.fallback]
	opts := []sfstream.Option{
		sfstream.WithAck(sfstream.AckManual), sfstream.WithReplay(start), sfstream.WithReplayFallback(fallback),
		sfstream.WithPrefetch(max(200, 2*s.batch*s.lanes)),
	}
	if s.cometd {
		opts = append(opts, sfstream.WithTransport(sfstream.CometD))
	}
	return opts
}

// forwardOptions are those of each [sink.Forward].
func (s *settings) forwardOptions() []sink.Option {
	envelope := map[string]sink.Envelope{
		"json": sink.JSON, "raw": sink.Raw, "cloudevents": sink.CloudEvents, "cloudevents-binary": sink.CloudEventsBinary,
	}[s.envelope]
	opts := []sink.Option{
		sink.WithEnvelope(envelope), sink.WithLanes(s.lanes), sink.WithBatch(s.batch, 1<<20), sink.WithDrainTimeout(s.drain),
	}
	if s.order == "channel" {
		opts = append(opts, sink.WithKey(func(m *sfstream.Message) string { return m.Channel }))
	}
	return opts
}

// clusterOptions are those of the replica.
func (s *settings) clusterOptions() []cluster.Option {
	opts := []cluster.Option{cluster.WithPrefix(s.prefix), cluster.WithLease(s.lease)}
	if s.save > 0 {
		opts = append(opts, cluster.WithSaveInterval(s.save))
	}
	if s.name != "" {
		opts = append(opts, cluster.WithName(s.name))
	}
	return opts
}
