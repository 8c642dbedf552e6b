package channels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	admin   = "admin@sfstream.example"
	adminID = "005000000000002AAA"
)

// school is an org whose contacts are students and teachers, with an admin beside the user of the
// services.
type school struct {
	*sfstreamtest.Server
	t        *testing.T
	students string // the id of the record type
	teachers string
	client   *sfstream.Client // the admin's
}

func newSchool(t *testing.T) *school {
	t.Helper()
	s := &school{Server: sfstreamtest.NewServer(t, sfstreamtest.InMemory(), sfstreamtest.WithUser(admin, adminID)), t: t}
	var err error
	s.students, err = s.DefineRecordType("Contact", "Student")
	lab.Must(t, err)
	s.teachers, err = s.DefineRecordType("Contact", "Teacher")
	lab.Must(t, err)
	account := s.Account()
	s.client = s.open(authenticator.Password{
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: admin, Password: account.Password, SecurityToken: account.SecurityToken,
	})
	return s
}

// open opens a client that ends with the test.
func (s *school) open(auth authenticator.Authenticator, opts ...sfstream.Option) *sfstream.Client {
	s.t.Helper()
	client, err := sfstream.New(auth, append(opts, sfstream.WithOrg(s))...)
	lab.Must(s.t, err)
	s.t.Cleanup(func() { _ = client.Close() })
	lab.Must(s.t, client.Open(s.t.Context()))
	return client
}

// write creates or changes a record as the client's user does, and returns the id of a new one.
func (s *school) write(client *sfstream.Client, method, path string, fields map[string]any) (id string) {
	s.t.Helper()
	id, err := write(s.t.Context(), client, method, path, fields)
	lab.Must(s.t, err)
	return id
}

func write(ctx context.Context, client *sfstream.Client, method, path string, fields map[string]any) (id string, err error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, "sobjects/"+path, strings.NewReader(string(text)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if resp.StatusCode == http.StatusCreated {
		err = json.NewDecoder(resp.Body).Decode(&made)
	}
	return made.ID, err
}

// contact makes a contact as the client's user does.
func (s *school) contact(client *sfstream.Client, recordType, name string) (id string) {
	s.t.Helper()
	return s.write(client, "POST", "Contact", map[string]any{"LastName": name, "RecordTypeId": recordType})
}

// topics are the PushTopics that the admin sees, by name.
func (s *school) topics() map[string]channels.PushTopic {
	s.t.Helper()
	list, err := channels.NewPushTopics(s.client).List(s.t.Context())
	lab.Must(s.t, err)
	topics := make(map[string]channels.PushTopic)
	for _, topic := range list {
		topics[topic.Name] = topic
	}
	return topics
}

// A service reacts to changes of students: it writes to each that another one has made or changed,
// and shall not hear of that. It follows cases, too.
type service struct {
	school *school
	client *sfstream.Client
	store  interface{ Close() error }
	log    lab.Log
	stop   context.CancelFunc
	ended  chan error

	mu   sync.Mutex
	seen []string
}

type student struct {
	ID   string `sf:"Id"`
	Name any    // one text, or its parts: PushTopics are said to give the parts of a compound
}

func (s student) lastName() string {
	if parts, ok := s.Name.(map[string]any); ok {
		return fmt.Sprint(parts["LastName"])
	}
	return fmt.Sprint(s.Name)
}

// start starts a service, and waits until it runs.
func (s *school) start(path string) *service {
	s.t.Helper()
	v := s.launch(path)
	v.pass()
	return v
}

// launch starts a service whose markers are in a file.
func (s *school) launch(path string) *service {
	s.t.Helper()
	store, err := replaystore.OpenBolt(path)
	lab.Must(s.t, err)
	v := &service{school: s, store: store, ended: make(chan error, 1)}
	v.client = s.open(s.Authenticator(), sfstream.WithReplayStore(store), sfstream.WithLogger(v.log.Logger()))
	ctx, stop := context.WithCancel(s.t.Context())
	v.stop = stop
	mux := sfstream.NewMux()
	mux.Use(sfstream.Recover(), sfstream.LogHandled(v.client.Logger()))
	channels.HandleSObject(mux, "Contact", v.students, channels.RecordType("Student"), channels.ExcludeCurrentUser())
	channels.HandlePushTopic(mux, channels.PushTopic{Name: "UrgentCases", Query: "SELECT Id, Subject FROM Case WHERE Priority = 'High'"}, v.cases)
	go func() { v.ended <- v.client.Serve(ctx, mux) }()
	return v
}

// pass lets happen what is to happen, and looks whether the service still runs.
func (v *service) pass() {
	v.school.t.Helper()
	<-time.After(10 * time.Second)
	synctest.Wait()
	select {
	case err := <-v.ended:
		v.school.t.Fatalf("the service has ended: %v\n%s", err, v.log.String())
	default:
	}
}

// saw keeps what the service has seen. One that hears itself writes for ever.
func (v *service) saw(what string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen = append(v.seen, what); len(v.seen) > 20 {
		return fmt.Errorf("too much is seen: %q", v.seen)
	}
	return nil
}

func (v *service) students(ctx context.Context, m *sfstream.Message) error {
	s, err := sfstream.Decode[student](m)
	if err != nil {
		return err
	}
	if err := v.saw(m.Type + " " + s.lastName()); err != nil || m.Type == "deleted" {
		return err
	}
	_, err = write(ctx, v.client, "PATCH", "Contact/"+s.ID, map[string]any{"Description": "seen"})
	return err
}

func (v *service) cases(_ context.Context, m *sfstream.Message) error {
	fields, err := m.Fields()
	return errors.Join(err, v.saw(fmt.Sprint("case ", fields["Subject"])))
}

// expect expects what the service has seen since the last time, in alphabetical order.
func (v *service) expect(want ...string) {
	v.school.t.Helper()
	v.pass()
	v.mu.Lock()
	defer v.mu.Unlock()
	slices.Sort(v.seen) // of two channels
	if !slices.Equal(v.seen, want) {
		v.school.t.Errorf("the service has seen %q, want %q", v.seen, want)
	}
	v.seen = nil
}

// end ends a service as a signal does.
func (v *service) end() {
	v.school.t.Helper()
	v.stop()
	lab.Must(v.school.t, errors.Join(<-v.ended, v.client.Close(), v.store.Close()))
}

// The user's own changes do not come, those of others and of the record type do; and it goes on so
// after a restart, also one before which the record type was renamed.
func TestAServiceGetsWhatItDeclares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, path := newSchool(t), filepath.Join(t.TempDir(), "replay.db")
		v := s.start(path)
		ann := s.contact(s.client, s.students, "Ann")
		s.contact(s.client, s.teachers, "Bob")
		own := s.contact(v.client, s.students, "Own")
		v.expect("created Ann")
		s.write(s.client, "PATCH", "Contact/"+ann, map[string]any{"Phone": "1"})
		s.write(s.client, "PATCH", "Contact/"+own, map[string]any{"Phone": "2"})
		s.write(v.client, "PATCH", "Contact/"+own, map[string]any{"Phone": "3"})
		s.write(s.client, "POST", "Case", map[string]any{"Subject": "Help", "Priority": "High"})
		v.expect("case Help", "updated Ann", "updated Own")

		before := s.topics()
		v.end()
		s.contact(s.client, s.students, "Cem")
		lab.Must(t, s.RenameRecordType("Contact", "Student", "Pupil"))
		s.contact(s.client, s.students, "Dora")
		v = s.start(path)
		v.expect("created Cem", "created Dora")
		if warned := v.log.Warnings("a record type was renamed"); len(warned) != 1 {
			t.Errorf("it warned %d times", len(warned))
		}
		lab.Contains(t, v.log.String(), `RecordType(\"Pupil\"), Name(\"ContactStudent\")`)
		if after := s.topics(); len(after) != 2 || after["ContactStudent"] != before["ContactStudent"] || after["UrgentCases"] != before["UrgentCases"] {
			t.Errorf("the topics are %+v, and were %+v", after, before)
		}
		// Renamed while it runs, and started again once more.
		lab.Must(t, s.RenameRecordType("Contact", "Pupil", "Learner"))
		s.contact(s.client, s.teachers, "Eve")
		s.contact(s.client, s.students, "Finn")
		v.expect("created Finn")
		v.end()
		v = s.start(path)
		s.contact(s.client, s.students, "Gil")
		v.expect("created Gil")
		v.end()
	})
}

func TestReplicasThatStartAtOnceShareTheirTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		// Different files: two services that see the same events are what a test can tell apart.
		var replicas []*service
		for n := range 3 {
			replicas = append(replicas, s.launch(filepath.Join(t.TempDir(), fmt.Sprint(n))))
		}
		for _, v := range replicas {
			v.pass()
		}
		if topics := s.topics(); len(topics) != 2 {
			t.Errorf("there are the topics %v", topics)
		}
		s.contact(s.client, s.students, "Ann")
		for _, v := range replicas {
			v.expect("created Ann")
			v.end()
		}
	})
}
