package sfstreamtest

// WithSharedEventID gives all events of a group, see [Server.DefineMembers], one
// Event.ID. Default: each has its own. It is not known what Salesforce does.
func WithSharedEventID() Option { return func(c *config) { c.sharedEventID = true } }

// WithGroupCut ends every response after n events of a group, anywhere if n < 0, as
// [Server.CutGroups] does. Default 0: only where the size of a response or the
// client's demand asks for it.
func WithGroupCut(n int) Option { return func(c *config) { c.groupCut = n } }
