package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/replaystore"
)

const markersHelp = `Shows and changes the replay markers in a file that "tail -replay" or a program
with replaystore.OpenBolt keeps: of each channel the event after which it goes
on. Nothing may have the file open meanwhile.

  sfstream markers replay.db
  sfstream markers replay.db -set /event/Order__e=00000000000012d60000
  sfstream markers replay.db -set /topic/Accounts=1234 -org 00D000000000062EAA
  sfstream markers old.db -export | sfstream markers new.db -import -
  echo '{"/topic/Accounts": 1234}' |
    sfstream markers replay.db -import - -org 00D000000000062EAA

The list has the date of the event, its age, and how much time is left until
Salesforce drops it: from then on a start there can lose events, and "tail"
does what its -fallback says. Salesforce keeps events for 72 hours, those of
/topic and /u for 24. The time left counts from when the channel was last known
to be complete, which can be later than its last event.

-set takes a replay id as "tail -from" does: a number, hex or base64. -import
takes what -export and -json print, as lines or as an array; and an object with
an id for each channel, or with a date and the id, as aiosfstream keeps them:

  {"/topic/Accounts": 1234, "/u/News": ["2026-11-27T20:00:00.000Z", 12]}
  {"/event/Order__e": {"date": "2026-11-27T20:00:00.000Z", "replay_id": 77}}

There a JSON number is an id of the Streaming API, unless -api pubsub says that
those of /event and /data are not, and text is as for -set. -import replaces
the markers of those channels and keeps the others. -set and
-import save all or, if anything is wrong, nothing. They make the file where
there is none. -org wants an id: "sfstream doctor" tells it, and so does Setup,
Company Information, in Salesforce.
`

// markersFlags are the flags of sfstream markers.
type markersFlags struct {
	json, export bool
	set          []setting
	channel      string // of -delete
	file         string // of -import
	org, api     string
}

// setting is what -set says: the key is without the org, and without the API until check.
type setting struct {
	key  replaystore.Key
	text string
	id   []byte // since check
}

func (f *markersFlags) register(flags *flag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "list as JSON, one marker a line, with age_seconds and left_seconds")
	flags.BoolVar(&f.export, "export", false, "print the markers as JSON, one a line, for -import")
	flags.Func("import", "save the markers in this `file`; - is standard input", once(&f.file))
	flags.Func("set", "let the channel go on after this replay id, given as `CHANNEL=ID`; can be repeated", f.addSetting)
	flags.Func("delete", "forget the marker of this `CHANNEL`", once(&f.channel))
	flags.Func("org", "only markers of this org, given by its `id`; for -set and -import the org that they are of (default of -set the org in the file)", func(id string) (err error) {
		f.org, err = orgID(id)
		return err
	})
	flags.Var(choiceOf(&f.api, "", apiPubSub, apiStreaming), "api", "only markers of this API, the Pub/Sub API or the Streaming API; for -set and -import the API over which /event and /data are followed")
}

// The names of the APIs in markers.
const (
	apiPubSub    = "pubsub"
	apiStreaming = "cometd"
)

// once returns the function of a flag that may be given once, with a value.
func once(value *string) func(string) error {
	return func(text string) error {
		switch {
		case text == "":
			return errors.New("it is empty")
		case *value != "":
			return errors.New("it is there twice")
		}
		*value = text
		return nil
	}
}

func (f *markersFlags) addSetting(text string) error {
	i := strings.Index(text, "=")
	if filter := strings.Index(text, "?"); filter >= 0 && filter < i {
		i = strings.LastIndex(text, "=") // it is behind the filter, and the id is a number
	}
	if i < 0 {
		return errors.New("want CHANNEL=ID")
	}
	key := replaystore.Key{Channel: text[:i]}.Canonical()
	for _, other := range f.set {
		if other.key.Channel == key.Channel {
			return fmt.Errorf("%s is there twice", key.Channel)
		}
	}
	f.set = append(f.set, setting{key: key, text: text[i+1:]})
	return nil
}

func (f *markersFlags) check() error {
	given := 0
	for _, is := range []bool{f.json, f.export, f.file != "", len(f.set) > 0, f.channel != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return usageError{"sfstream markers: -json, -export, -import, -set and -delete exclude each other: give one"}
	}
	for i := range f.set {
		s := &f.set[i]
		s.key.API = cmp.Or(f.api, usualAPI(s.key.Channel))
		err := checkChannel(s.key)
		if err == nil {
			s.id, err = readID(s.text, s.key.API)
		}
		if err != nil {
			return usageError{fmt.Sprintf("sfstream markers: -set %s=%s: %v", s.key.Channel, s.text, err)}
		}
	}
	return nil
}

func (f *markersFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	path := args[0]
	var read map[replaystore.Key]replaystore.Marker
	if f.file != "" {
		if read, err = f.readFile(ctx); err != nil {
			return err
		}
	}
	store, err := f.open(path)
	if err != nil {
		return err
	}
	defer func() { err = joined(err, store.Close()) }()
	all, err := store.All(ctx)
	switch {
	case err != nil:
		return plain(err)
	case f.file != "":
		if err := store.Save(ctx, read); err != nil {
			return plain(err)
		}
		fmt.Fprintf(stderr, "sfstream: markers saved in %s: %d\n", path, len(read))
		return nil
	case len(f.set) > 0:
		return f.setMarkers(ctx, store, all, path, stderr)
	case f.channel != "":
		return f.deleteMarker(ctx, store, all, path, stderr)
	case f.export:
		return printMarkers(stdout, f.wanted(all), nil)
	case f.json:
		return printMarkers(stdout, f.wanted(all), new(time.Now()))
	}
	return listMarkers(stdout, f.wanted(all), time.Now())
}

// open opens the file, and makes it only where -import or -set knows what to save.
func (f *markersFlags) open(path string) (*replaystore.Bolt, error) {
	if f.file == "" && (len(f.set) == 0 || f.org == "") {
		info, err := os.Stat(path)
		is := "there is no file " + path
		if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			is, err = path+" is empty", fs.ErrNotExist // OpenBolt would write to it
		}
		switch {
		case !errors.Is(err, fs.ErrNotExist):
		case len(f.set) > 0:
			return nil, usageError{fmt.Sprintf("sfstream markers: %s; to make it, -set needs -org, the id of the org that the channels are of", is)}
		default:
			return nil, errors.New(is)
		}
	}
	store, err := replaystore.OpenBolt(path, replaystore.WithLockTimeout(time.Second))
	if errors.Is(err, replaystore.ErrLocked) {
		return nil, fmt.Errorf("%s is in use: end the program that has it open first", path)
	}
	return store, plain(err)
}

// plain returns an error of the store without the name of the package.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "replaystore: "))
}

// wanted leaves the markers that -org and -api choose.
func (f *markersFlags) wanted(all iter.Seq2[replaystore.Key, replaystore.Marker]) iter.Seq2[replaystore.Key, replaystore.Marker] {
	return func(yield func(replaystore.Key, replaystore.Marker) bool) {
		for key, marker := range all {
			if (f.org == "" || f.org == key.OrgID) && (f.api == "" || f.api == key.API) && !yield(key, marker) {
				return
			}
		}
	}
}

func (f *markersFlags) setMarkers(ctx context.Context, store *replaystore.Bolt, all iter.Seq2[replaystore.Key, replaystore.Marker], path string, stderr io.Writer) error {
	org, old := f.org, make(map[replaystore.Key]replaystore.Marker)
	for key, marker := range all {
		switch {
		case f.org != "":
		case org != "" && org != key.OrgID:
			return usageError{fmt.Sprintf("sfstream markers: %s has markers of several orgs, as %s and %s: -set needs -org", path, org, key.OrgID)}
		default:
			org = key.OrgID
		}
		old[key] = marker
	}
	if org == "" {
		return usageError{fmt.Sprintf("sfstream markers: %s has no markers yet: -set needs -org, the id of the org that the channels are of", path)}
	}
	changed := make(map[replaystore.Key]replaystore.Marker)
	for _, s := range f.set {
		s.key.OrgID = org
		changed[s.key] = replaystore.Marker{ReplayID: s.id}
	}
	if err := store.Save(ctx, changed); err != nil {
		return plain(err)
	}
	for _, s := range f.set {
		s.key.OrgID = org
		was := ""
		if marker, ok := old[s.key]; ok {
			was = ", no longer after " + whereIs(s.key, marker)
		}
		fmt.Fprintf(stderr, "sfstream: %s (%s, org %s) goes on after %s%s\n", s.key.Channel, s.key.API, org, idText(s.key.API, s.id), was)
	}
	return nil
}

func (f *markersFlags) deleteMarker(ctx context.Context, store *replaystore.Bolt, all iter.Seq2[replaystore.Key, replaystore.Marker], path string, stderr io.Writer) error {
	channel := replaystore.Key{Channel: f.channel}.Canonical().Channel
	var found []replaystore.Key
	var markers []replaystore.Marker
	var names []string
	for key, marker := range f.wanted(all) {
		if key.Channel == channel {
			found, markers, names = append(found, key), append(markers, marker), append(names, "-org "+key.OrgID+" -api "+key.API)
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("%s has no such marker of %s", path, channel)
	case 1:
	default:
		return usageError{fmt.Sprintf("sfstream markers: %s has several markers of %s: say which with %s", path, channel, strings.Join(names, ", or with "))}
	}
	if err := store.Delete(ctx, found[0]); err != nil {
		return plain(err)
	}
	fmt.Fprintf(stderr, "sfstream: the marker of %s (%s, org %s) is deleted; it was after %s\n", channel, found[0].API, found[0].OrgID, whereIs(found[0], markers[0]))
	return nil
}

// whereIs says where a marker is.
func whereIs(key replaystore.Key, marker replaystore.Marker) string {
	if len(marker.ReplayID) == 0 {
		return "what came before " + marker.Live.UTC().Format(time.RFC3339)
	}
	return idText(key.API, marker.ReplayID)
}

var orgForm = regexp.MustCompile(`^00D[0-9A-Za-z]{12}([A-Z0-5]{3})?$`)

// orgID checks the id of an org, and returns it with 18 characters.
func orgID(id string) (string, error) {
	if !orgForm.MatchString(id) {
		return "", errors.New("want the id of an org: 00D and 12 or 15 more characters")
	}
	full := replaystore.Key{OrgID: id[:15]}.Canonical().OrgID
	if len(id) == 18 && id != full {
		return "", errors.New("its last three characters do not fit to the others: copy it again, letter by letter")
	}
	return full, nil
}

// usualAPI returns the API over which a channel is followed if nothing else is said.
func usualAPI(channel string) string {
	if strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") {
		return apiStreaming
	}
	return apiPubSub
}

func apiName(api string) string {
	if api == apiStreaming {
		return "Streaming API"
	}
	return "Pub/Sub API"
}

var channelForm = regexp.MustCompile(`^/(event|data|topic|u)/[^\s*]*[^\s*/]$`)

// checkChannel fails unless the key is of a channel that its API can have.
func checkChannel(key replaystore.Key) error {
	if !channelForm.MatchString(key.Channel) || !utf8.ValidString(key.Channel) {
		return fmt.Errorf("%q is no channel: want /event/Name__e, /data/NameChangeEvent, /topic/Name or /u/Name", key.Channel)
	}
	if key.API == apiPubSub && usualAPI(key.Channel) == apiStreaming {
		return fmt.Errorf("%s is a channel of the Streaming API, and not of the Pub/Sub API", key.Channel)
	}
	return nil
}
