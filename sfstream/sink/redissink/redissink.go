package redissink

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Sink is a [sink.Sink] in streams of Redis.
type Sink struct {
	client redis.UniversalClient
	stream sink.Template
	maxLen int64 // 0: streams are not trimmed
	single bool  // one server has all streams
}

// Option is an option of [New].
type Option func(*Sink) error

// WithMaxLen trims each stream to about n entries, the newest ones, whether or not they were read.
// By default streams are not trimmed.
func WithMaxLen(n int64) Option {
	return func(s *Sink) error {
		if n < 1 {
			return fmt.Errorf("%w: redissink.WithMaxLen: %d is less than 1", sfstream.ErrInvalidOption, n)
		}
		s.maxLen = n
		return nil
	}
}

// New returns a sink whose streams are named by a template, see [sink.ParseTemplate], such as
// salesforce.{entity}, or one name. The client stays the caller's to close. New asks the server
// nothing.
func New(client redis.UniversalClient, stream string, opts ...Option) (*Sink, error) {
	template, err := sink.ParseTemplate(stream)
	if err != nil {
		return nil, fmt.Errorf("redissink.New: stream: %w", err)
	}
	s := &Sink{client: client, stream: template, single: true}
	switch client.(type) {
	case nil:
		return nil, fmt.Errorf("%w: redissink.New: the client is nil", sfstream.ErrInvalidOption)
	case *redis.Ring:
		return nil, fmt.Errorf("%w: redissink.New: a redis.Ring has no order while a server is away: "+
			"use a redis.Client or a redis.ClusterClient", sfstream.ErrInvalidOption)
	case *redis.ClusterClient:
		s.single = false
	}
	for _, opt := range opts {
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// KEYS are the streams. ARGV is the greatest length of a stream, or 0, and of each entry the number
// of its stream, how many fields and values it has, and these. The script ends at the first entry
// that is refused, and returns how many are in before it, and the reason.
var addScript = redis.NewScript(`
local done, i = 0, 2
while i <= #ARGV do
	local command = {'XADD', KEYS[tonumber(ARGV[i])]}
	if ARGV[1] ~= '0' then
		command[3], command[4], command[5] = 'MAXLEN', '~', ARGV[1]
	end
	command[#command + 1] = '*'
	local last = i + 1 + tonumber(ARGV[i + 1])
	for field = i + 2, last do
		command[#command + 1] = ARGV[field]
	end
	local reply = redis.pcall(unpack(command))
	if type(reply) == 'table' and reply.err then
		return {done, reply.err}
	end
	done, i = done + 1, last + 1
end
return {done, ''}`)

// Send implements [sink.Sink].
func (s *Sink) Send(ctx context.Context, records []sink.Record) error {
	streams := make([]string, len(records))
	for i := range records {
		streams[i] = s.stream.Expand(&records[i])
	}
	acked := 0
	for acked < len(records) {
		end := len(records)
		if !s.single {
			for end = acked + 1; end < len(records) && streams[end] == streams[acked]; end++ {
			}
		}
		n, err := s.add(ctx, records[acked:end], streams[acked:end])
		if acked += n; err != nil {
			return failure(acked, len(records), err)
		}
	}
	return nil
}

// failure is the error of a Send of which the first records are acked.
func failure(acked, records int, err error) error {
	if acked == 0 {
		return err
	}
	partial := &sink.PartialError{Failed: make(map[int]error, records-acked)}
	for i := acked; i < records; i++ {
		partial.Failed[i] = err
	}
	return partial
}

// add puts records into their streams by one script, and returns how many of them are acked: all,
// if there is no error.
func (s *Sink) add(ctx context.Context, records []sink.Record, streams []string) (acked int, err error) {
	var keys []string
	numbers := make(map[string]int)
	args := append(make([]any, 0, 1+10*len(records)), s.maxLen)
	for i := range records {
		number, known := numbers[streams[i]]
		if !known {
			keys = append(keys, streams[i])
			number = len(keys)
			numbers[streams[i]] = number
		}
		args = appendEntry(args, number, &records[i])
	}
	reply, err := wait(ctx, func() ([]any, error) { return addScript.Run(ctx, s.client, keys, args...).Slice() })
	if err != nil {
		return 0, fmt.Errorf("redissink: stream %q: %w", streams[0], err)
	}
	if len(reply) == 2 {
		done, isNumber := reply[0].(int64)
		refusal, isText := reply[1].(string)
		switch acked = int(done); {
		case !isNumber || !isText || done < 0 || acked > len(records):
		case acked == len(records):
			return acked, nil
		default:
			return acked, fmt.Errorf("redissink: stream %q: %s", streams[acked], refusal)
		}
	}
	return 0, errors.New("redissink: the server answers something else than the script")
}

// appendEntry appends what the script wants of a record.
func appendEntry(args []any, stream int, r *sink.Record) []any {
	args = append(args, stream, 0)
	begin := len(args)
	args = append(args, "id", r.ID, "key", r.Key, "content-type", r.ContentType, "value", r.Value)
	for _, h := range r.Headers {
		if name := h.As("ce_"); name != "content-type" {
			args = append(args, name, h.Value)
		}
	}
	args[begin-1] = len(args) - begin
	return args
}

// wait returns what call returns, or ctx.Err() soon after ctx has ended: go-redis waits for a reply
// as long as its own timeouts say, whatever becomes of ctx. A ctx that has ended already calls
// nothing.
func wait[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() { // ends by the client's timeouts, and nobody waits for it after ctx
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
