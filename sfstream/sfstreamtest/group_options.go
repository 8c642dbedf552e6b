package sfstreamtest

// WithSharedEventID gives all events of a group, see [Server.DefineMembers], the same [Event].ID.
// Default: each has one of its own. It is not known which of them Salesforce does.
func WithSharedEventID() Option { return func(c *config) { c.sharedEventID = true } }

// WithGroupCut ends every response after n events of a group, anywhere if n < 0, as
// [Server.CutGroups] does. Default 0: only if the size of a response or the client's demand asks
// for it.
func WithGroupCut(n int) Option { return func(c *config) { c.groupCut = n } }
