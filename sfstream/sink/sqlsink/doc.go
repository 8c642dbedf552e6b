// Package sqlsink puts the events of Salesforce into an outbox table of PostgreSQL or SQLite, for
// sink.Forward, and each event exactly once: its row and the replay marker are in one transaction.
//
//	register, err := sqlstore.NewPostgres(db)
//	client, err := sfstream.New(auth, sfstream.WithReplayStore(replaystore.FromRegister(register)),
//		sfstream.WithAck(sfstream.AckManual))
//	outbox, err := sqlsink.NewPostgres(db)
//	// … CreateTable of both, Open, Subscribe …
//	err = sink.Forward(ctx, client, outbox)
//
// The client's markers must be in a register of package sqlstore, in the same database: on its own,
// as above, or by package cluster. Forward must have one lane, which is its default.
//
// # The table
//
// [Sink.CreateTable] makes it, or a migration (SQLite: n integer PRIMARY KEY AUTOINCREMENT, time text, value blob):
//
//	CREATE TABLE sfstream_outbox (
//		n            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
//		id           text NOT NULL,  -- Record.ID: the same event has the same
//		channel      text NOT NULL,
//		key          text NOT NULL,  -- what is in order
//		entity       text NOT NULL,
//		change       text NOT NULL,
//		type         text NOT NULL,
//		source       text NOT NULL,
//		subject      text NOT NULL,
//		time         timestamptz,    -- NULL where the event has no date
//		content_type text NOT NULL,
//		value        bytea NOT NULL  -- of sink.JSON: convert_from(value, 'UTF8')::jsonb
//	)
//
// It may have more columns that have defaults, indexes, triggers (also one that calls pg_notify), and
// constraints, such as a unique index on id, which finds nothing. A row that a constraint refuses is
// an event that Forward gives to its dead letters, or ends with.
//
// # Reading it
//
// Take rows out in the transaction that does the work:
//
//	DELETE FROM sfstream_outbox WHERE n IN (
//		SELECT n FROM sfstream_outbox ORDER BY n LIMIT 100 FOR UPDATE) RETURNING n, channel, value
//
// and sort them by n, which is the order of the events of each channel. Do not remember the greatest n
// instead of deleting: where replicas lead several channels, a row with a smaller n may be committed
// later.
//
// What sqlstore says of the settings with which a commit is kept is true of the rows as well.
package sqlsink
