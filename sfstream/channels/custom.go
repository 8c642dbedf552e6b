package channels

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
)

// ChannelType says of which kind the events of a [CustomChannel] are. Salesforce does not change it.
type ChannelType string

const (
	// Data is a channel /data/… of change events.
	Data ChannelType = "data"
	// Event is a channel /event/… of platform events: of those that the org defines (Order__e), or
	// of those of Real-Time Event Monitoring (LoginEventStream). Salesforce takes no others, and not
	// both on one channel.
	Event ChannelType = "event"
)

// standardChannel is the channel of change events that every org has. It is no record, and has
// members as others have.
const standardChannel = "ChangeEvents"

// A CustomChannel is a channel that carries several kinds of event: a PlatformEventChannel of the
// Tooling API, with its members.
type CustomChannel struct {
	ID string // of the record, 18 characters; Salesforce gives it, and ChangeEvents has none
	// Name ends in __chn, as in Sales__chn; with or without /data/ or /event/ before it. ChangeEvents
	// is the org's standard channel: its members are the objects that are selected for Change Data
	// Capture.
	Name    string
	Label   string      // empty: as it is, or the Name of a channel that is made
	Type    ChannelType // empty: that of the members' events
	Members []Member
}

// Channel returns the channel to subscribe to, such as /data/Sales__chn.
func (c CustomChannel) Channel() string { return "/" + string(c.Type) + "/" + c.Name }

func (c *CustomChannel) isStandard() bool { return c.Name == standardChannel }

// Custom makes custom channels, by the Tooling API. The user needs View Setup and Configuration to
// see them and Customize Application to change them.
type Custom struct{ rest rest }

// NewCustom returns the custom channels of the org of client, which must be open when they are used.
func NewCustom(client *sfstream.Client) *Custom { return &Custom{rest{client}} }

// A DeclareOption changes what [Custom.Declare] does.
type DeclareOption func(*declaration)

// declaration is what is done with a channel beside what it is said to be.
type declaration struct{ exactly bool }

// Exactly removes the members that the declaration does not name. Of ChangeEvents these are objects
// that somebody else may have selected.
func Exactly() DeclareOption { return func(d *declaration) { d.exactly = true } }

// Declare makes the channel what is said, and returns it with its ID, Label and Type:
//
//	sales, err := custom.Declare(ctx, channels.CustomChannel{
//		Name: "Sales__chn",
//		Members: []channels.Member{
//			{Event: "AccountChangeEvent", Enriched: []string{"Industry"}},
//			{Event: "OpportunityChangeEvent", Filter: "StageName = 'Closed Won'"},
//		},
//	})
//	…
//	err = client.Subscribe(ctx, sales.Channel())
//
// A channel or member that is not there is made, one that differs is changed, and else nothing is
// written. Each member that is said is exactly as it is said: one without Filter has none then.
// Members that are not said stay, unless [Exactly] is given; they are not in what is returned. A
// channel that another program makes at this moment is changed like one that was there. The client's
// log tells what was written.
//
// In an org with a namespace, and for what comes from a package, the names of events and fields have
// it: ns__Order__e. Where such an org's channel is said without, so may its events be. Filters need
// API version 56.0 or later, enriched fields 51.0.
//
// The error is [sfstream.ErrInvalidOption] for what no channel can be, before anything is sent. Where
// Salesforce refuses a member the error names it, and the others are done. Only what would fail for
// each of them, as without a permission, ends Declare at the first, and the error says that those
// after it are as they were. A second Declare goes on from there.
func (c *Custom) Declare(ctx context.Context, channel CustomChannel, opts ...DeclareOption) (CustomChannel, error) {
	var d declaration
	for _, opt := range opts {
		if opt != nil {
			opt(&d)
		}
	}
	err := c.rest.check()
	if err == nil {
		channel, err = channel.checked()
	}
	if err != nil {
		return CustomChannel{}, err
	}
	name := channel.Name
	if !channel.isStandard() {
		channel, err = c.declareChannel(ctx, channel)
		channel.qualify(name)
	}
	if err == nil {
		err = c.declareMembers(ctx, channel, d.exactly)
	}
	if err != nil {
		return CustomChannel{}, failed(name, err)
	}
	return channel, nil
}

// bareEvent matches the name of an event that an org defines, without a namespace.
var bareEvent = regexp.MustCompile(`^[A-Za-z](?:_?[A-Za-z0-9])*__(?:e|ChangeEvent)$`)

// qualify gives the members the org's namespace, where the channel was said without one and turned
// out to have it: what such an org defines has it too, and Salesforce names members so. Without it a
// member would be another one than that which is there, and Exactly would remove that.
func (c *CustomChannel) qualify(said string) {
	there, parts := customName.FindStringSubmatch(c.Name), customName.FindStringSubmatch(said)
	if there == nil || parts == nil || there[1] == "" || parts[1] != "" {
		return
	}
	for i, m := range c.Members {
		if bareEvent.MatchString(m.Event) {
			c.Members[i].Event = there[1] + "__" + m.Event
		}
	}
}

// failed is the error of a channel, with what the user needs where that may be missing.
func failed(channel string, err error) error {
	hint := ""
	if server, ok := errors.AsType[*sfstream.ServerError](err); ok && (server.Code == sfstream.PermissionDenied || server.Reason == invalidType) {
		hint = "; the user needs View Setup and Configuration to see channels and Customize Application to change them"
	}
	return fmt.Errorf("channels: %s: %w%s", channel, err, hint)
}

// declareChannel makes the record of a channel what is said, without its members.
func (c *Custom) declareChannel(ctx context.Context, channel CustomChannel) (CustomChannel, error) {
	var failure error
	lost := func() {} // tells what was written, once it turns out that it was
	for round := range declareRounds {
		there, err := c.look(ctx, channel.Name)
		switch {
		case err != nil:
			return channel, err
		case there == nil:
			_, failure = c.rest.create(ctx, channelPath, channel.record())
		case there.ChannelType != channel.Type:
			return channel, fmt.Errorf("it is there, of type %q and not %q, which Salesforce does not change: choose another name, or delete the channel first", there.ChannelType, channel.Type)
		case channel.Label == "" || channel.Label == there.Label:
			lost()
			channel.ID, channel.Name, channel.Label = there.ID, there.fullName(), there.Label
			return channel, nil
		default:
			failure = c.relabel(ctx, there.ID, channel.Label)
		}
		told := func() { c.tell("custom channel declared", channel, "new", there == nil) }
		if failure == nil {
			lost = func() {}
			told()
			continue // look what it is now
		}
		if ctx.Err() != nil || !isTaken(failure) && !errors.Is(failure, ErrNotFound) && !inDoubt(failure) {
			return channel, failure
		}
		if inDoubt(failure) {
			lost = told
		}
		if err := pause(ctx, round, failure); err != nil {
			return channel, err
		}
	}
	return channel, givenUp(failure)
}

// tell logs what was written of a channel.
func (c *Custom) tell(what string, channel CustomChannel, attrs ...any) {
	c.rest.client.Logger().Info(what, append([]any{"channel", channel.Channel()}, attrs...)...)
}

var eventsOf = map[ChannelType]string{Data: "change events", Event: "platform events"}

// record is what makes a channel.
func (c *CustomChannel) record() metadata {
	fields := map[string]any{"channelType": c.Type, "label": cmp.Or(c.Label, strings.TrimSuffix(c.Name, "__chn"))}
	if len(c.Members) > 0 && c.Members[0].kind() == monitoringEvent {
		fields["eventType"] = "monitoring"
	}
	return metadata{c.Name, fields}
}

// relabel changes the label of a channel.
func (c *Custom) relabel(ctx context.Context, id, label string) error {
	var there metadata
	if _, err := c.rest.get(ctx, channelPath+"/"+id, nil, &there); err != nil {
		return err
	}
	if there.Metadata == nil {
		return fmt.Errorf("%s: %w: it has no Metadata", channelPath, errUnread)
	}
	there.Metadata["label"] = label
	return c.rest.update(ctx, channelPath+"/"+id, there)
}

// List returns all custom channels by name, each with its members, and ChangeEvents as the first one
// if it has any. It takes a request for each member.
func (c *Custom) List(ctx context.Context) ([]CustomChannel, error) {
	list, err := c.list(ctx)
	if err != nil {
		return nil, failed("custom channels", err)
	}
	return list, nil
}

func (c *Custom) list(ctx context.Context) ([]CustomChannel, error) {
	if err := c.rest.check(); err != nil {
		return nil, err
	}
	rows, err := toolingRows[channelRow](ctx, c.rest, selectChannels+" ORDER BY DeveloperName")
	if err != nil {
		return nil, err
	}
	members, err := toolingRows[memberRow](ctx, c.rest, selectMembers)
	if err != nil {
		return nil, err
	}
	all := []CustomChannel{{Name: standardChannel, Type: Data}}
	at := map[string]int{standardChannel: 0}
	for _, row := range rows {
		at[short(row.ID)] = len(all)
		all = append(all, CustomChannel{ID: row.ID, Name: row.fullName(), Label: row.Label, Type: row.ChannelType})
	}
	for _, row := range members {
		i, ok := at[short(row.EventChannel)]
		if !ok {
			continue // its channel was made since, or is gone
		}
		there, err := c.member(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		if there != nil {
			all[i].Members = append(all[i].Members, there.Member)
		}
	}
	if all[0].Members == nil {
		all = all[1:]
	}
	return all, nil
}

// Delete deletes a channel and its members; [ErrNotFound] if there is none. One that somebody else
// deletes at this moment is deleted. Salesforce refuses it while an event relay uses the channel,
// and has no way to delete ChangeEvents.
func (c *Custom) Delete(ctx context.Context, name string) error {
	channel := CustomChannel{Name: name}
	err := c.rest.check()
	if err == nil {
		err = channel.checkName()
	}
	if err == nil && channel.isStandard() {
		err = fmt.Errorf("%w: custom channel %s: every org has it: to remove its members declare it with those that are to stay, Exactly", sfstream.ErrInvalidOption, standardChannel)
	}
	if err != nil {
		return err
	}
	there, err := c.look(ctx, channel.Name)
	switch {
	case err == nil && (there == nil || channel.Type != "" && there.ChannelType != channel.Type):
		err = ErrNotFound
	case err == nil:
		if err = c.rest.delete(ctx, channelPath+"/"+there.ID); errors.Is(err, ErrNotFound) {
			err = nil // it was there a moment ago
		}
	}
	if err != nil {
		return failed(channel.Name, err)
	}
	return nil
}

const (
	channelPath    = "tooling/sobjects/PlatformEventChannel"
	selectChannels = "SELECT Id, DeveloperName, NamespacePrefix, ManageableState, ChannelType, MasterLabel FROM PlatformEventChannel"
)

// channelRow is a PlatformEventChannel as a query of the Tooling API has it.
type channelRow struct {
	ID              string `json:"Id"`
	DeveloperName   string
	NamespacePrefix string // of an org that has one, or of a package
	ManageableState string // begins with "installed" if the channel came with a package
	ChannelType     ChannelType
	Label           string `json:"MasterLabel"`
}

// fullName is the name of the channel as one subscribes to it.
func (r *channelRow) fullName() string {
	if r.NamespacePrefix != "" {
		return r.NamespacePrefix + "__" + r.DeveloperName + "__chn"
	}
	return r.DeveloperName + "__chn"
}

// look asks for the record of a channel; nil if there is none. A name without a namespace is one of
// the org's own, whatever namespace that has.
func (c *Custom) look(ctx context.Context, name string) (*channelRow, error) {
	parts := customName.FindStringSubmatch(name)
	namespace, developer := parts[1], parts[2]
	rows, err := toolingRows[channelRow](ctx, c.rest, selectChannels+" WHERE DeveloperName = "+quote(developer))
	if err != nil {
		return nil, err
	}
	var own *channelRow
	for i, row := range rows {
		switch {
		case strings.EqualFold(row.NamespacePrefix, namespace):
			return &rows[i], nil
		case namespace == "" && !strings.HasPrefix(row.ManageableState, "installed"):
			own = &rows[i]
		}
	}
	return own, nil
}

// customName matches the name of a custom channel, and has its namespace and its developer name.
var customName = regexp.MustCompile(`^(?:([A-Za-z](?:_?[A-Za-z0-9])*)__)?([A-Za-z](?:_?[A-Za-z0-9])*)__chn$`)

// checkName takes the path off a name, which says the type, and refuses what is none.
func (c *CustomChannel) checkName() error {
	bare, data := strings.CutPrefix(c.Name, "/data/")
	bare, event := strings.CutPrefix(bare, "/event/")
	var implied ChannelType
	switch {
	case data || bare == standardChannel:
		implied = Data
	case event:
		implied = Event
	}
	bad := func(form string, args ...any) error {
		return fmt.Errorf("%w: custom channel %.100q: "+form, append([]any{sfstream.ErrInvalidOption, c.Name}, args...)...)
	}
	switch {
	case data && event, event && bare == standardChannel, !customName.MatchString(bare) && bare != standardChannel:
		return bad("want a name such as Sales__chn, of letters, digits and _, or %s", standardChannel)
	case bare == standardChannel && c.Label != "":
		return bad("its Label cannot be changed")
	case c.Type != "" && implied != "" && c.Type != implied:
		return bad("it is a channel of %s, and its Type is %q", eventsOf[implied], c.Type)
	}
	c.Name, c.Type = bare, cmp.Or(c.Type, implied)
	return nil
}

// checked returns the channel in the words of the Tooling API, or what is wrong with it.
func (c CustomChannel) checked() (CustomChannel, error) {
	if err := c.checkName(); err != nil {
		return c, err
	}
	bad := func(form string, args ...any) (CustomChannel, error) {
		return c, fmt.Errorf("%w: custom channel %s: "+form, append([]any{sfstream.ErrInvalidOption, c.Name}, args...)...)
	}
	c.Label = strings.TrimSpace(c.Label)
	if c.Type != "" && eventsOf[c.Type] == "" {
		return bad("Type %.40q: want Data or Event", string(c.Type))
	}
	members := make([]Member, len(c.Members))
	seen := make(map[string]bool)
	for i, m := range c.Members {
		err := m.check()
		if err != nil {
			return bad("member %.100q: %w", c.Members[i].Event, err)
		}
		c.Type = cmp.Or(c.Type, m.kind().channelType())
		switch key := strings.ToLower(m.Event); {
		case m.kind().channelType() != c.Type:
			return bad("member %s is not of the %s that the channel carries", m.Event, eventsOf[c.Type])
		case i > 0 && m.kind() != members[0].kind():
			return bad("members %s and %s: Salesforce takes events of Real-Time Event Monitoring on channels of their own", members[0].Event, m.Event)
		case seen[key]:
			return bad("member %s is there twice", m.Event)
		default:
			members[i], seen[key] = m, true
		}
	}
	if c.Type == "" {
		return bad("it has no members: say its Type")
	}
	c.Members = members
	return c, nil
}
