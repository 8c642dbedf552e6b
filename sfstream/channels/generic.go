package channels

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/sfstream"
)

const (
	maxGenericName        = 80
	maxGenericDescription = 255
)

// A GenericChannel is a channel /u/… for texts of the program's own: a StreamingChannel record.
type GenericChannel struct {
	ID string // of the record, 18 characters; Salesforce gives it
	// Name is the channel as programs subscribe to it, such as /u/orders/new: at most 80 characters,
	// which are letters, digits, _ and /.
	Name        string
	Description string // at most 255 characters
	// Dynamic is Salesforce's IsDynamic: the channel may be made by a subscription to it. Salesforce
	// sets it.
	Dynamic bool
}

// Generic makes generic channels, finds them, and pushes events on them. The user needs Streaming
// Channels with Create to make one, and access to the record to receive (Read) and to push (Edit).
type Generic struct {
	rest rest

	mu  sync.Mutex
	ids map[string]string // of the records of channels on which something was pushed, by name
}

// NewGeneric returns the generic channels of a client's org.
func NewGeneric(client *sfstream.Client) *Generic {
	return &Generic{rest: rest{client}, ids: make(map[string]string)}
}

// Create makes a channel, and returns it with its ID. A channel of that name which is there already,
// or which somebody else makes at this moment, is returned as it is: there is never a second one,
// and its Description is not changed. Salesforce takes no two names that differ in case alone: where
// there is such a channel, it is the error. ID and Dynamic of what is to be made say nothing.
func (g *Generic) Create(ctx context.Context, channel GenericChannel) (GenericChannel, error) {
	if err := channel.check(); err != nil {
		return GenericChannel{}, err
	}
	channel.Description = strings.TrimSpace(channel.Description) // as Salesforce stores texts
	fields := map[string]string{"Name": channel.Name}
	if channel.Description != "" {
		fields["Description"] = channel.Description
	}
	for round := 0; ; round++ {
		there, err := g.Find(ctx, channel.Name)
		if !errors.Is(err, ErrNotFound) || errors.As(err, new(*otherCase)) {
			return there, err
		}
		id, err := g.rest.create(ctx, "sobjects/StreamingChannel", fields)
		if err == nil {
			return GenericChannel{ID: id, Name: channel.Name, Description: channel.Description}, nil
		}
		if round < declareRounds-1 && (inDoubt(err) || isTaken(err)) {
			err = pause(ctx, round, err)
		}
		if err != nil {
			return GenericChannel{}, fmt.Errorf("channels: %s is not created: %w", channel.Name, err)
		}
	}
}

// Find returns the channel of a name, or [ErrNotFound].
func (g *Generic) Find(ctx context.Context, name string) (GenericChannel, error) {
	if err := checkGenericName(name); err != nil {
		return GenericChannel{}, err
	}
	channel, err := g.find(ctx, name)
	if err != nil {
		return GenericChannel{}, fmt.Errorf("channels: %s: %w", name, err)
	}
	return channel, nil
}

// find is Find with an error that does not name the channel.
func (g *Generic) find(ctx context.Context, name string) (GenericChannel, error) {
	found, err := g.query(ctx, " WHERE Name = "+quote(name))
	if err != nil {
		return GenericChannel{}, err
	}
	for _, channel := range found {
		if channel.Name == name {
			return channel, nil
		}
	}
	if len(found) > 0 {
		return GenericChannel{}, &otherCase{found[0].Name}
	}
	return GenericChannel{}, fmt.Errorf("%w: check the spelling, and that the user may read the StreamingChannel record", ErrNotFound)
}

// otherCase is the error for a channel in whose place there is one whose name has another case.
type otherCase struct{ there string }

func (e *otherCase) Error() string {
	return fmt.Sprintf("%v: there is %s, and Salesforce takes no second channel whose name differs in case alone", ErrNotFound, e.there)
}

func (e *otherCase) Unwrap() error { return ErrNotFound }

// List returns all channels that the user may see, by name.
func (g *Generic) List(ctx context.Context) ([]GenericChannel, error) {
	found, err := g.query(ctx, " ORDER BY Name")
	if err != nil {
		return nil, fmt.Errorf("channels: generic channels: %w", err)
	}
	return found, nil
}

// Delete deletes the channel of a name. One that is not there is [ErrNotFound]; one that somebody
// else deletes at this moment is deleted.
func (g *Generic) Delete(ctx context.Context, name string) error {
	channel, err := g.Find(ctx, name)
	if err != nil {
		return err
	}
	g.know(name, "")
	if err := g.rest.delete(ctx, "sobjects/StreamingChannel/"+channel.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("channels: %s is not deleted: %w", name, err)
	}
	return nil
}

// query returns the channels that a condition in SOQL selects.
func (g *Generic) query(ctx context.Context, condition string) ([]GenericChannel, error) {
	if err := g.rest.check(); err != nil {
		return nil, err
	}
	found := []GenericChannel{}
	for record, err := range g.rest.client.Query(ctx, "SELECT Id, Name, Description, IsDynamic FROM StreamingChannel"+condition) {
		var fields struct {
			ID          string `sf:"Id"`
			Name        string
			Description string
			IsDynamic   bool
		}
		if err == nil {
			err = record.Decode(&fields)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, GenericChannel{fields.ID, fields.Name, fields.Description, fields.IsDynamic})
	}
	return found, nil
}

// know remembers the id of a channel's record; an empty one is forgotten.
func (g *Generic) know(name, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ids[name] = id; id == "" {
		delete(g.ids, name)
	}
}

func (g *Generic) known(name string) (id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ids[name]
}

var genericName = regexp.MustCompile(`^/u/[A-Za-z0-9_/]*[A-Za-z0-9_]$`)

func checkGenericName(name string) error {
	switch {
	case utf8.RuneCountInString(name) > maxGenericName:
		return fmt.Errorf("%w: generic channel %.100q has %d characters, and Salesforce takes %d", sfstream.ErrInvalidOption, name, utf8.RuneCountInString(name), maxGenericName)
	case !genericName.MatchString(name):
		return fmt.Errorf("%w: generic channel %q: it is /u/ and a name of letters, digits, _ and /, as in /u/orders/new", sfstream.ErrInvalidOption, name)
	}
	return nil
}

func (c *GenericChannel) check() error {
	if err := checkGenericName(c.Name); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(c.Description); n > maxGenericDescription {
		return fmt.Errorf("%w: generic channel %s: its Description has %d characters, and Salesforce takes %d", sfstream.ErrInvalidOption, c.Name, n, maxGenericDescription)
	}
	return nil
}
