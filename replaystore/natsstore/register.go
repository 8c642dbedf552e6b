package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Register is a [replaystore.Register] in a key-value bucket: one key of the bucket for each key.
type Register struct {
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	bucket string
}

// New returns a register in the bucket, which must be there. It fails if the bucket cannot be
// reached within ctx, or would lose values: see the package documentation. The connection of js
// stays the caller's to close.
func New(ctx context.Context, js jetstream.JetStream, bucket string) (*Register, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("natsstore: bucket %q: %w", bucket, err)
	}
	stream, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return nil, fmt.Errorf("natsstore: bucket %q: %w", bucket, err)
	}
	if why := unfit(stream.CachedInfo().Config, js.Conn().MaxPayload()); why != "" {
		return nil, fmt.Errorf("natsstore: bucket %q %s", bucket, why)
	}
	return &Register{js: js, kv: kv, bucket: bucket}, nil
}

// maxValue is what a Register must take, with room for the headers of a message.
const maxValue = 64<<10 + 1<<10

// unfit says why a bucket cannot be a register.
func unfit(config jetstream.StreamConfig, maxPayload int64) string {
	switch {
	case config.MaxAge != 0:
		return fmt.Sprintf("has a TTL of %v: a marker that expires means a start at new events; make a bucket without", config.MaxAge)
	case config.Storage != jetstream.FileStorage:
		return "is in memory, and gone with its server: make a bucket with file storage"
	case config.Mirror != nil:
		return "is a mirror, which is behind: use the bucket that it mirrors"
	case config.Discard != jetstream.DiscardNew:
		return "deletes old values where it is full: let it discard new ones"
	case config.MaxMsgSize > 0 && config.MaxMsgSize < maxValue:
		return fmt.Sprintf("takes values of %d bytes at most, and %d are needed: raise MaxValueSize", config.MaxMsgSize, maxValue)
	case maxPayload < maxValue:
		return fmt.Sprintf("is on a server that takes %d bytes at most, and %d are needed: raise max_payload", maxPayload, maxValue)
	}
	return ""
}

// Get implements [replaystore.Register].
func (r *Register) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	at, err := r.epoch(ctx)
	var sequence uint64
	if err == nil {
		value, sequence, err = r.last(ctx, at.name(key))
	}
	switch {
	case errors.Is(err, replaystore.ErrNotFound):
		return nil, "", replaystore.ErrNotFound
	case err != nil:
		return nil, "", fmt.Errorf("natsstore: reading %q from bucket %q: %w", key, r.bucket, err)
	}
	return value, at.revision(sequence), nil
}

// Put implements [replaystore.Register].
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	newRev, err = r.put(ctx, key, value, rev)
	if err == nil {
		return newRev, nil
	}
	for _, conflict := range []error{
		replaystore.ErrConflict, jetstream.ErrKeyRevisionMismatch, jetstream.ErrKeyExists,
		replaystore.ErrNotFound, // the bucket lost its epoch meanwhile
	} {
		if errors.Is(err, conflict) {
			return "", replaystore.ErrConflict
		}
	}
	return "", fmt.Errorf("natsstore: writing %q to bucket %q: %w", key, r.bucket, err)
}

func (r *Register) put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var at epoch
	var sequence uint64
	if rev == "" {
		if at, err = r.begin(ctx); err == nil {
			sequence, err = r.kv.Create(ctx, at.name(key), value)
		}
	} else {
		var ok bool
		if at, sequence, ok = parse(rev); !ok {
			return "", replaystore.ErrConflict // no revision of any bucket
		}
		sequence, err = r.kv.Update(ctx, at.name(key), value, sequence)
	}
	if err != nil {
		return "", err
	}
	switch now, err := r.epoch(ctx); {
	case err != nil:
		return "", err
	case now != at:
		return "", replaystore.ErrConflict // it is where nobody reads
	}
	return at.revision(sequence), nil
}

// last returns the value of a key of the bucket and its sequence number, from the stream's leader.
// [jetstream.KeyValue].Get asks any replica, and one that is behind may not have the key yet.
func (r *Register) last(ctx context.Context, name string) (value []byte, sequence uint64, err error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": "$KV." + r.bucket + "." + name})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.js.Options().DefaultTimeout)
	defer cancel()
	reply, err := r.js.Conn().RequestWithContext(ctx, r.api()+"STREAM.MSG.GET.KV_"+r.bucket, request)
	if err != nil {
		return nil, 0, err
	}
	var got struct {
		Error   *jetstream.APIError
		Message *struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte
		}
	}
	if err := json.Unmarshal(reply.Data, &got); err != nil {
		return nil, 0, err
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, 0, replaystore.ErrNotFound
	case got.Error != nil:
		return nil, 0, got.Error
	case got.Message == nil:
		return nil, 0, errors.New("a reply without a message")
	}
	header, err := nats.DecodeHeadersMsg(got.Message.Header)
	if len(got.Message.Header) > 0 && err != nil {
		return nil, 0, err
	}
	if header.Get("KV-Operation") != "" || header.Get(jetstream.MarkerReasonHeader) != "" {
		return nil, 0, replaystore.ErrNotFound // what is left of a value that was deleted
	}
	return got.Message.Data, got.Message.Sequence, nil
}

// api returns what the subjects of JetStream's API begin with.
func (r *Register) api() string {
	opts := r.js.Options()
	switch {
	case opts.Domain != "":
		return "$JS." + opts.Domain + ".API."
	case opts.APIPrefix != "":
		return strings.TrimSuffix(opts.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}
