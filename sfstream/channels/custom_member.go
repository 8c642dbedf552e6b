package channels

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/sfstream"
)

// A Member is a kind of event on a [CustomChannel].
type Member struct {
	// Event is the event's name, with or without /data/ or /event/ before it: AccountChangeEvent,
	// Employee__ChangeEvent, Order__e, LoginEventStream.
	Event string
	// Enriched are fields that come with each UPDATE and DELETE of a record although they have not
	// changed. Only change events have them.
	Enriched []string
	// Filter is a condition in the manner of SOQL that events must meet to be on the channel, such as
	// Industry = 'Energy' AND ChangeEventHeader.changeType = 'UPDATE'. Values in it are the program's
	// to quote. Of a change event each field in it is enriched, too.
	Filter string
}

// eventKind is what events a channel may have together.
type eventKind int

const (
	noEvent         eventKind = iota
	changeEvent               // of an object
	customEvent               // that the org defines
	monitoringEvent           // of Real-Time Event Monitoring; channels take no other standard events
)

func (k eventKind) channelType() ChannelType {
	if k == changeEvent {
		return Data
	}
	return Event
}

var eventName = regexp.MustCompile(`^[A-Za-z]\w*(__e|Event|EventStream)$`)

// kindOf says by an event's name of which kind it is.
func kindOf(event string) eventKind {
	switch {
	case !eventName.MatchString(event):
		return noEvent
	case strings.HasSuffix(event, "__e"):
		return customEvent
	case strings.HasSuffix(event, "ChangeEvent"):
		return changeEvent
	}
	return monitoringEvent
}

func (m *Member) kind() eventKind { return kindOf(m.Event) }

var (
	fieldName     = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)*$`)
	fieldInFilter = regexp.MustCompile(`[A-Za-z]\w*(\.[A-Za-z]\w*)*`)
)

// check takes the path off the event's name, and says what is wrong with the member.
func (m *Member) check() error {
	event, data := strings.CutPrefix(m.Event, "/data/")
	event, platform := strings.CutPrefix(event, "/event/")
	m.Event, m.Filter, m.Enriched = event, strings.TrimSpace(m.Filter), slices.Clone(m.Enriched)
	switch kind := m.kind(); {
	case kind == noEvent, data && kind != changeEvent, platform && kind == changeEvent:
		return errors.New("it is not the name of an event: want one such as AccountChangeEvent, Employee__ChangeEvent, Order__e or LoginEventStream")
	case len(m.Enriched) > 0 && kind != changeEvent:
		return errors.New("only change events can be enriched")
	case !utf8.ValidString(m.Filter):
		return errors.New("its Filter is not UTF-8")
	}
	seen := make(map[string]bool)
	for _, field := range m.Enriched {
		key := strings.ToLower(field)
		switch {
		case !fieldName.MatchString(field):
			return fmt.Errorf("enriched field %.100q: it is not the name of a field", field)
		case seen[key]:
			return fmt.Errorf("enriched field %s is there twice", field)
		}
		seen[key] = true
	}
	return nil
}

// is reports whether a member is as other is. The order of enriched fields does not count, nor do
// those in the filter: Salesforce enriches them itself, and may say so.
func (m *Member) is(other *Member) bool {
	filtered := fieldInFilter.FindAllString(strings.ToLower(quoted.ReplaceAllString(m.Filter, " ")), -1)
	names := func(m *Member) []string {
		var all []string
		for _, field := range m.Enriched {
			if field = strings.ToLower(field); !slices.Contains(filtered, field) {
				all = append(all, field)
			}
		}
		slices.Sort(all)
		return all
	}
	return m.Filter == other.Filter && slices.Equal(names(m), names(other))
}

const (
	memberPath    = "tooling/sobjects/PlatformEventChannelMember"
	selectMembers = "SELECT Id, EventChannel, SelectedEntity FROM PlatformEventChannelMember"
)

// memberRow is a PlatformEventChannelMember as a query of the Tooling API has it.
type memberRow struct {
	ID             string `json:"Id"`
	EventChannel   string // the channel's id, or ChangeEvents
	SelectedEntity string // the event's name, or the id of its definition
}

// memberThere is a member as the Tooling API has it.
type memberThere struct {
	Member
	id   string
	body metadata
}

// member gets a member; nil if it is gone.
func (c *Custom) member(ctx context.Context, id string) (*memberThere, error) {
	there := memberThere{id: id}
	if _, err := c.rest.get(ctx, memberPath+"/"+id, nil, &there.body); errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	fields := there.body.Metadata
	there.Event, _ = fields["selectedEntity"].(string)
	there.Filter, _ = fields["filterExpression"].(string)
	there.Filter = strings.TrimSpace(there.Filter)
	list, _ := fields["enrichedFields"].([]any)
	for _, element := range list {
		if field, _ := element.(map[string]any); field != nil {
			name, _ := field["name"].(string)
			there.Enriched = append(there.Enriched, name)
		}
	}
	if there.Event == "" {
		return nil, fmt.Errorf("%s: %w: it does not name the event", memberPath, errUnread)
	}
	return &there, nil
}

// record is what makes a member of a channel. Its name is Salesforce's own for it: two underscores
// would be a namespace.
func (m *Member) record(channel string) metadata {
	body := metadata{
		FullName: underscores.ReplaceAllString(channel+"_"+m.Event, "_"),
		Metadata: map[string]any{"eventChannel": channel, "selectedEntity": m.Event},
	}
	m.set(&body)
	return body
}

var underscores = regexp.MustCompile(`__+`)

// set writes into a body what of a member can be changed.
func (m *Member) set(body *metadata) {
	if m.kind() == changeEvent {
		fields := []map[string]string{}
		for _, name := range m.Enriched {
			fields = append(fields, map[string]string{"name": name})
		}
		body.Metadata["enrichedFields"] = fields
	}
	body.Metadata["filterExpression"] = nil
	if m.Filter != "" {
		body.Metadata["filterExpression"] = m.Filter
	}
}

// declareMembers makes the members of a channel what is said. Those that go do so first: their
// number is limited.
func (c *Custom) declareMembers(ctx context.Context, channel CustomChannel, exactly bool) error {
	there, extra, err := c.membersThere(ctx, channel)
	if err != nil {
		return fmt.Errorf("its members: %w", err)
	}
	if !exactly {
		extra = nil
	}
	// One that may be what is said stays until that is there.
	unsure := func(event string, _ string) bool {
		return slices.ContainsFunc(channel.Members, func(m Member) bool {
			return there[strings.ToLower(m.Event)] == nil && areTwins(m.Event, event)
		})
	}
	certain := maps.Clone(extra)
	maps.DeleteFunc(certain, unsure)
	var failed failedMembers
	if c.removeMembers(ctx, channel, certain, &failed) {
		return failed.withRest()
	}
	for _, m := range channel.Members {
		err := c.declareMember(ctx, channel, m, there[strings.ToLower(m.Event)])
		if err != nil && failed.add(&memberError{m.Event, m.Filter, err}) {
			return failed.withRest()
		}
	}
	if failed.errs == nil && len(certain) < len(extra) {
		if there, extra, err = c.membersThere(ctx, channel); err != nil {
			return fmt.Errorf("its members: %w", err)
		}
		maps.DeleteFunc(extra, unsure)
		c.removeMembers(ctx, channel, extra, &failed)
	}
	if failed.errs != nil {
		return &failed
	}
	return nil
}

// areTwins reports whether two names of events differ in this alone, that one has a namespace. They
// are one event where that is the org's own, and two where it is a package's.
func areTwins(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return bareEvent.MatchString(a) && strings.HasSuffix(strings.ToLower(b), "__"+strings.ToLower(a))
}

// removeMembers removes members, by event. It reports whether it is no use to go on with others.
func (c *Custom) removeMembers(ctx context.Context, channel CustomChannel, ids map[string]string, failed *failedMembers) (end bool) {
	for _, event := range slices.Sorted(maps.Keys(ids)) {
		switch err := c.rest.delete(ctx, memberPath+"/"+ids[event]); {
		case err == nil:
			c.tell("member of a custom channel removed", channel, "member", event)
		case !errors.Is(err, ErrNotFound) && failed.add(&memberError{event: event, err: err}):
			return true
		}
	}
	return false
}

// declareMember makes one member what is said. there is what is there of it; nil: nothing.
func (c *Custom) declareMember(ctx context.Context, channel CustomChannel, m Member, there *memberThere) (failure error) {
	lost := func() {} // tells what was written, once it turns out that it was
	for round := range declareRounds {
		gone, isNew := false, there == nil
		switch {
		case isNew:
			_, failure = c.rest.create(ctx, memberPath, m.record(channel.Name))
		case there.is(&m):
			lost()
			return nil
		default:
			m.set(&there.body)
			failure = c.rest.update(ctx, memberPath+"/"+there.id, there.body)
			gone = errors.Is(failure, ErrNotFound)
		}
		told := func() {
			c.tell("member of a custom channel declared", channel, "member", m.Event, "new", isNew)
		}
		if failure == nil {
			told()
			return nil
		}
		if inDoubt(failure) {
			lost = told
		}
		repeat := gone || isTaken(failure) || inDoubt(failure)
		if ctx.Err() != nil || !repeat && !mayBeThere(failure) {
			return failure
		}
		if err := pause(ctx, round, failure); err != nil {
			return err
		}
		all, others, err := c.membersThere(ctx, CustomChannel{ID: channel.ID, Name: channel.Name, Members: []Member{m}})
		there = all[strings.ToLower(m.Event)]
		for event, id := range others {
			if err == nil && there == nil && isTaken(failure) && areTwins(m.Event, event) {
				there, err = c.member(ctx, id) // the org's namespace makes them one
			}
		}
		if err != nil {
			return err
		}
		if there == nil && !repeat {
			return failure
		}
	}
	return failure
}

// mayBeThere reports whether a refusal may be for a member that is there: of a second one for an
// event Salesforce may say so before it says that its name is taken.
func mayBeThere(err error) bool {
	server, ok := errors.AsType[*sfstream.ServerError](err)
	return ok && server.Reason == "FIELD_INTEGRITY_EXCEPTION"
}

// membersThere returns those of a channel's members that are said, by event in lower case, and the
// ids of the others. It asks no more of these than their names.
func (c *Custom) membersThere(ctx context.Context, channel CustomChannel) (said map[string]*memberThere, extra map[string]string, err error) {
	key := channel.ID
	if channel.isStandard() {
		key = standardChannel
	}
	rows, err := toolingRows[memberRow](ctx, c.rest, selectMembers+" WHERE EventChannel = "+quote(key))
	if err != nil {
		return nil, nil, err
	}
	isSaid := func(event string) bool {
		return slices.ContainsFunc(channel.Members, func(m Member) bool { return strings.EqualFold(m.Event, event) })
	}
	said, extra = make(map[string]*memberThere), make(map[string]string)
	for _, row := range rows {
		if kindOf(row.SelectedEntity) != noEvent && !isSaid(row.SelectedEntity) {
			extra[row.SelectedEntity] = row.ID
			continue
		}
		there, err := c.member(ctx, row.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case there == nil:
		case isSaid(there.Event):
			said[strings.ToLower(there.Event)] = there
		default:
			extra[there.Event] = row.ID
		}
	}
	return said, extra, nil
}

// A memberError names the member, and shows no values of its filter.
type memberError struct {
	event, filter string
	err           error
}

// Error returns a text with the event and the cause.
func (e *memberError) Error() string {
	return fmt.Sprintf("member %s: %s", e.event, hideValues(e.err.Error(), e.filter))
}

// Unwrap returns the cause.
func (e *memberError) Unwrap() error { return e.err }

// failedMembers are the errors of single members.
type failedMembers struct{ errs []error }

// add adds the error of a member. It reports whether it is no use to go on with the others.
func (f *failedMembers) add(err error) (end bool) {
	f.errs = append(f.errs, err)
	server, ok := errors.AsType[*sfstream.ServerError](err)
	return !ok || server.Code != sfstream.Invalid && server.Code != sfstream.NotFound && server.Code != sfstream.LimitExceeded
}

// withRest is the error where the members that come after are left as they were.
func (f *failedMembers) withRest() error {
	return fmt.Errorf("%w; the members after it are left as they were", f)
}

// Error returns a text with all members.
func (f *failedMembers) Error() string {
	texts := make([]string, len(f.errs))
	for i, err := range f.errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the error of each member.
func (f *failedMembers) Unwrap() []error { return f.errs }
