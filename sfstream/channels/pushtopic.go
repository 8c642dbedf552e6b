package channels

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/sfstream"
)

// A PushTopic is a query in an org: each change of a record that the query selects is an event on
// /topic/Name.
type PushTopic struct {
	ID   string // 18 characters; Declare does not read it
	Name string // at most 25 characters, upper and lower case told apart

	// Query is SELECT Id, … FROM an object WHERE …, at most 1,300 characters. Salesforce takes no
	// LIMIT, ORDER BY, aggregates, subqueries and fields of a relationship in it.
	Query       string
	Description string // at most 400 characters
	APIVersion  string // of the query, as in "62.0"; empty for a topic that is made: the client's
	Inactive    bool   // there, and sends no events

	NotifyForFields NotifyForFields
	Operations      Operations
}

// Channel returns the channel of the topic's events, /topic/Name.
func (t PushTopic) Channel() string { return "/topic/" + t.Name }

// NotifyForFields says for which changes of a record that the WHERE of a query selects there is an
// event. Creations, deletions and undeletions do not depend on it. Salesforce wants a query that has
// such fields: of Id alone in SELECT and no WHERE it takes All only.
type NotifyForFields string

// The empty NotifyForFields is Salesforce's own default, Referenced.
const (
	All        NotifyForFields = "All"        // any change
	Referenced NotifyForFields = "Referenced" // of a field in SELECT or WHERE
	Select     NotifyForFields = "Select"     // of a field in SELECT
	Where      NotifyForFields = "Where"      // of a field in WHERE
)

// Operations says for which operations on records there are events, as in Create|Update. Zero is all
// of them.
type Operations uint8

// The operations on records.
const (
	Create Operations = 1 << iota
	Update
	Delete
	Undelete

	allOperations = Create | Update | Delete | Undelete
)

// The limits of a PushTopic record, in characters.
const (
	topicNameLimit        = 25
	topicQueryLimit       = 1300
	topicDescriptionLimit = 400
)

// declareRounds is how often Declare looks what is there. Each round but the first begins because
// somebody else has made or deleted the topic since, or because an answer was lost.
const declareRounds = 4

// PushTopics are those of a client's org. The user needs Read on Push Topics to see them, and Create,
// Edit and Delete to change them.
type PushTopics struct{ rest rest }

// NewPushTopics returns the PushTopics of the org of client, which must be open when they are used.
func NewPushTopics(client *sfstream.Client) *PushTopics { return &PushTopics{rest{client}} }

// Declare makes the topic of that name what is said, and returns it as it is then. A topic that is
// there is changed where it differs, at once for those who follow it, and else not written to:
// fields that are empty (Description, APIVersion, NotifyForFields) are as they were, and one that
// somebody has set inactive is active again. If others declare the same name otherwise, the last of
// them has said what it is. The client's log tells what was changed, and warns of another Query: who
// follows the topic gets other events now.
//
// The error is [sfstream.ErrInvalidOption] for what no PushTopic can be, before anything is sent,
// else one of [sfstream.Client.Do]. It shows no values of the query. A write whose answer is lost is
// sent again, where a look shows that it is not done: up to three times, with waits.
func (p *PushTopics) Declare(ctx context.Context, topic PushTopic) (PushTopic, error) {
	topic, err := topic.clean()
	if err != nil {
		return PushTopic{}, err
	}
	var failure error
	lost := func() {} // tells what was written, once it turns out that it was
	for round := range declareRounds {
		there, err := p.look(ctx, topic.Name)
		if err != nil {
			return PushTopic{}, topic.failed(err)
		}
		have, ok := there.named(topic.Name)
		changes, other := topic.changes(have), there.other(topic.Name)
		switch {
		case ok && len(changes) == 0:
			lost()
			return have, nil
		case ok:
			failure = p.rest.update(ctx, "sobjects/PushTopic/"+have.ID, changes)
		case isTaken(failure) && other != "":
			return PushTopic{}, topic.failed(fmt.Errorf("there is %s, and Salesforce takes no names that differ in case only: %w", other, failure))
		default:
			_, failure = p.rest.create(ctx, "sobjects/PushTopic", topic.fields(there.version))
		}
		switch {
		case failure == nil:
			lost = func() {}
			p.tell(ctx, topic, ok, changes)
			have, err := p.Get(ctx, topic.Name)
			again := ok && round < declareRounds-1 && topic.mixed(have, changes)
			if !errors.Is(err, ErrNotFound) && !again {
				return have, err
			}
		case ctx.Err() != nil, !isTaken(failure) && !(ok && isGone(failure)) && !inDoubt(failure):
			return PushTopic{}, topic.failed(failure)
		case inDoubt(failure):
			lost = func() { p.tell(ctx, topic, ok, changes) }
			if err := pause(ctx, round, failure); err != nil {
				return PushTopic{}, topic.failed(err)
			}
		}
	}
	return PushTopic{}, topic.failed(givenUp(failure))
}

// tell logs what Declare has written. Others may follow a topic that was there for what it was: that
// its query is another one is a warning.
func (p *PushTopics) tell(ctx context.Context, topic PushTopic, wasThere bool, changes map[string]any) {
	level := slog.LevelInfo
	if _, query := changes["Query"]; query && wasThere {
		level = slog.LevelWarn
	}
	changed := strings.Join(slices.Sorted(maps.Keys(changes)), ",")
	p.rest.client.Logger().Log(ctx, level, "PushTopic declared", "pushtopic", topic.Name, "new", !wasThere, "changed", changed)
}

// Get returns the topic of that name, else [ErrNotFound].
func (p *PushTopics) Get(ctx context.Context, name string) (PushTopic, error) {
	topic := PushTopic{Name: name}
	if err := checkTopicName(name); err != nil {
		return PushTopic{}, err
	}
	there, err := p.look(ctx, name)
	if err != nil {
		return PushTopic{}, topic.failed(err)
	}
	if have, ok := there.named(name); ok {
		return have, nil
	}
	if other := there.other(name); other != "" {
		return PushTopic{}, topic.failed(fmt.Errorf("%w: there is %s, and upper and lower case are told apart", ErrNotFound, other))
	}
	return PushTopic{}, topic.failed(ErrNotFound)
}

// List returns the topics that the user may see, by name.
func (p *PushTopics) List(ctx context.Context) ([]PushTopic, error) {
	if err := p.rest.check(); err != nil {
		return nil, err
	}
	topics := []PushTopic{}
	for record, err := range p.rest.client.Query(ctx, selectTopics+" ORDER BY Name") {
		var topic topicRecord
		if err == nil {
			err = json.Unmarshal(record.Raw(), &topic)
		}
		if err != nil {
			return nil, fmt.Errorf("channels: PushTopics: %w", err)
		}
		topics = append(topics, topic.topic())
	}
	return topics, nil
}

// Delete deletes the topic of that name; [ErrNotFound] if there is none. Who follows it gets no more
// events.
func (p *PushTopics) Delete(ctx context.Context, name string) error {
	have, err := p.Get(ctx, name)
	if err != nil {
		return err
	}
	if err := p.rest.delete(ctx, "sobjects/PushTopic/"+have.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return have.failed(err) // not found: it was there a moment ago, and is gone
	}
	return nil
}

const selectTopics = "SELECT Id, Name, Query, Description, ApiVersion, IsActive, NotifyForFields, NotifyForOperationCreate, " +
	"NotifyForOperationUpdate, NotifyForOperationDelete, NotifyForOperationUndelete FROM PushTopic"

// topicsThere is what a query for a name has found: SOQL does not tell upper and lower case apart,
// channels do.
type topicsThere struct {
	Records []topicRecord `json:"records"`
	version string        // of the API that was asked
}

// look asks for the topics of a name, in whatever case.
func (p *PushTopics) look(ctx context.Context, name string) (there topicsThere, err error) {
	there.version, err = p.rest.get(ctx, "query", url.Values{"q": {selectTopics + " WHERE Name = " + quote(name)}}, &there)
	if err == nil && there.Records == nil {
		err = fmt.Errorf("query: %w: it has no records", errUnread) // not even none: it is somebody else's
	}
	return there, err
}

func (t *topicsThere) named(name string) (PushTopic, bool) {
	at := slices.IndexFunc(t.Records, func(r topicRecord) bool { return r.Name == name })
	if at < 0 {
		return PushTopic{}, false
	}
	return t.Records[at].topic(), true
}

// other is a name that differs in case only; empty where no topic has one.
func (t *topicsThere) other(name string) string {
	at := slices.IndexFunc(t.Records, func(r topicRecord) bool { return strings.EqualFold(r.Name, name) })
	if at < 0 {
		return ""
	}
	return t.Records[at].Name
}

// topicRecord is a PushTopic as REST has it.
type topicRecord struct {
	ID              string          `json:"Id"`
	Name            string          `json:"Name"`
	Query           string          `json:"Query"`
	Description     string          `json:"Description"`
	APIVersion      float64         `json:"ApiVersion"`
	IsActive        bool            `json:"IsActive"`
	NotifyForFields NotifyForFields `json:"NotifyForFields"`
	Create          bool            `json:"NotifyForOperationCreate"`
	Update          bool            `json:"NotifyForOperationUpdate"`
	Delete          bool            `json:"NotifyForOperationDelete"`
	Undelete        bool            `json:"NotifyForOperationUndelete"`
}

// noOperation is what Operations are of a topic that was read and has none, so that it can be declared
// as it is.
const noOperation Operations = 1 << 7

func (r *topicRecord) topic() PushTopic {
	t := PushTopic{
		ID: r.ID, Name: r.Name, Query: r.Query, Description: r.Description, Inactive: !r.IsActive,
		APIVersion: strconv.FormatFloat(r.APIVersion, 'f', 1, 64), NotifyForFields: r.NotifyForFields,
	}
	for operation, on := range map[Operations]bool{Create: r.Create, Update: r.Update, Delete: r.Delete, Undelete: r.Undelete} {
		if on {
			t.Operations |= operation
		}
	}
	if t.Operations == 0 {
		t.Operations = noOperation
	}
	return t
}

// fields are those of a record that makes the topic.
func (t PushTopic) fields(version string) map[string]any {
	fields := t.changes(PushTopic{Inactive: !t.Inactive, Operations: ^cmp.Or(t.Operations, allOperations)})
	fields["Name"], fields["Query"] = t.Name, t.Query
	if t.APIVersion == "" {
		fields["ApiVersion"] = json.Number(version)
	}
	return fields
}

// changes are the fields of have that differ from what is said.
func (t PushTopic) changes(have PushTopic) map[string]any {
	changes := make(map[string]any)
	for field, say := range map[string][2]string{
		"Query":           {t.Query, have.Query},
		"Description":     {t.Description, have.Description},
		"NotifyForFields": {string(t.NotifyForFields), string(have.NotifyForFields)},
	} {
		if say[0] != "" && say[0] != say[1] {
			changes[field] = say[0]
		}
	}
	if t.APIVersion != "" && t.APIVersion != have.APIVersion {
		changes["ApiVersion"] = json.Number(t.APIVersion)
	}
	if t.Inactive != have.Inactive {
		changes["IsActive"] = !t.Inactive
	}
	for operation, name := range map[Operations]string{Create: "Create", Update: "Update", Delete: "Delete", Undelete: "Undelete"} {
		if on := cmp.Or(t.Operations, allOperations)&operation != 0; on != (have.Operations&operation != 0) {
			changes["NotifyForOperation"+name] = on
		}
	}
	return changes
}

// mixed reports whether a topic that was just changed differs in what was not changed because it was
// as it is said: somebody else has changed that at the same time, so that it is neither's. What was
// changed may differ: the org or a later declaration has made it what it is.
func (t PushTopic) mixed(have PushTopic, changed map[string]any) bool {
	for field := range t.changes(have) {
		if _, ok := changed[field]; !ok {
			return true
		}
	}
	return false
}

var (
	// topicName is what a segment of a Bayeux channel may have.
	topicName    = regexp.MustCompile(`^[A-Za-z0-9_!~()$@-]+$`)
	topicVersion = regexp.MustCompile(`^(2[1-9]|[3-9]\d|[1-9]\d\d)\.0$`)
	selected     = regexp.MustCompile(`(?is)^SELECT\s+(.*?)\s+FROM\s`)
	whereClause  = regexp.MustCompile(`(?i)\sWHERE\s`)
)

func checkTopicName(name string) error {
	bad := func(form string, args ...any) error {
		return fmt.Errorf("%w: PushTopic %.100q: "+form, append([]any{sfstream.ErrInvalidOption, name}, args...)...)
	}
	switch n := utf8.RuneCountInString(name); {
	case name == "":
		return bad("it has no Name")
	case strings.HasPrefix(name, "/"):
		return bad("Name is without /topic/, as in %q", path.Base(name))
	case n > topicNameLimit:
		return bad("its Name has %d characters, and Salesforce takes %d", n, topicNameLimit)
	case !topicName.MatchString(name):
		return bad("its Name has characters that no channel may have: want letters, digits and _")
	}
	return nil
}

// clean returns the topic with its texts as Salesforce stores them, and refuses what no PushTopic can
// be.
func (t PushTopic) clean() (PushTopic, error) {
	t.Query, t.Description = strings.TrimSpace(t.Query), strings.TrimSpace(t.Description)
	return t, t.check()
}

func (t PushTopic) check() error {
	if err := checkTopicName(t.Name); err != nil {
		return err
	}
	bad := func(form string, args ...any) error {
		return fmt.Errorf("%w: PushTopic %s: "+form, append([]any{sfstream.ErrInvalidOption, t.Name}, args...)...)
	}
	query, description := utf8.RuneCountInString(t.Query), utf8.RuneCountInString(t.Description)
	clause := selected.FindStringSubmatch(t.Query)
	switch {
	case t.Query == "":
		return bad("it has no Query")
	case query > topicQueryLimit:
		return bad("its Query has %d characters, and Salesforce takes %d", query, topicQueryLimit)
	case clause == nil:
		return bad("its Query is not of the form SELECT Id, … FROM …")
	case !slices.ContainsFunc(strings.Split(clause[1], ","), isID):
		return bad("its Query does not select Id, which Salesforce wants")
	case !t.NotifyForFields.canBeOf(clause[1], t.Query):
		return bad("NotifyForFields is %s, and its Query has no such field beside Id: want another one in the Query, or All", t.NotifyForFields)
	case description > topicDescriptionLimit:
		return bad("its Description has %d characters, and Salesforce takes %d", description, topicDescriptionLimit)
	case t.APIVersion != "" && !topicVersion.MatchString(t.APIVersion):
		return bad("APIVersion %.20q: want a form such as 62.0, and 21.0 or later", t.APIVersion)
	case !slices.Contains([]NotifyForFields{"", All, Referenced, Select, Where}, t.NotifyForFields):
		return bad("NotifyForFields %.40q: want All, Referenced, Select or Where", string(t.NotifyForFields))
	case t.Operations&^allOperations != 0 && t.Operations != noOperation:
		return bad("Operations %d: want Create, Update, Delete and Undelete, joined with |", t.Operations)
	}
	return nil
}

// canBeOf reports whether a query has a field whose changes are to be told. Of Referenced, which is
// what nobody has said, Salesforce judges.
func (n NotifyForFields) canBeOf(selection, query string) bool {
	switch n {
	case Select:
		return slices.ContainsFunc(strings.Split(selection, ","), func(field string) bool { return !isID(field) })
	case Where:
		return whereClause.MatchString(query)
	}
	return true
}

func isID(field string) bool { return strings.EqualFold(strings.TrimSpace(field), "Id") }

// failed is an error of a request for the topic.
func (t PushTopic) failed(err error) error { return &topicError{t.Name, t.Query, err} }

// A topicError names the topic, and shows no values of its query: Salesforce quotes a query that it
// does not understand, and what is in a WHERE may be personal data or worse.
type topicError struct {
	name, query string
	err         error
}

// Error returns a text with the topic's name and the cause.
func (e *topicError) Error() string {
	return fmt.Sprintf("channels: PushTopic %s: %s", e.name, hideValues(e.err.Error(), e.query))
}

// Unwrap returns the cause.
func (e *topicError) Unwrap() error { return e.err }
