package sfstreamtest

import "time"

// WithPublishIdle sets how long a stream on which a client publishes lives without events. Default
// 70 s, which Salesforce's .proto says; its table of errors says 1,800 s.
func WithPublishIdle(d time.Duration) Option { return func(c *config) { c.publishIdle = d } }

// WithPublishKeepalive sends an empty response on a stream on which a client publishes whenever the
// stream has had none for d. Default 0: never, as Salesforce was not seen to send any.
func WithPublishKeepalive(d time.Duration) Option {
	return func(c *config) { c.publishKeepalive = d }
}

// WithCurrentSchemaOnly refuses events that a client publishes with a schema that the channel had
// before. Default: each schema that the channel has had is good.
func WithCurrentSchemaOnly() Option { return func(c *config) { c.currentSchemaOnly = true } }

// WithMissingFieldsFatal fails the whole request, before any of its events is published, where an
// event that a client publishes has no CreatedDate or CreatedById: it is zero, null or empty.
// Salesforce's guide says that such a call fails, and not which part of it. Default: the event has
// an error in its result.
func WithMissingFieldsFatal() Option { return func(c *config) { c.missingFailsCall = true } }
