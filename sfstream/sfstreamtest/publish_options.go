package sfstreamtest

import "time"

// WithPublishIdle sets how long a stream on which a client publishes lives without events. Default
// 70 s, which Salesforce's .proto says; its table of errors says 1,800 s.
func WithPublishIdle(d time.Duration) Option { return func(c *config) { c.publishIdle = d } }
