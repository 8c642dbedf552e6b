// Package sqlstore keeps replay markers in PostgreSQL or SQLite, and writes a program's own rows and
// the marker in one transaction. The database handle is the program's own:
//
//	db, err := sql.Open("pgx", "postgres://app@db/app?target_session_attrs=read-write")
//	register, err := sqlstore.NewPostgres(db)
//	err = register.CreateTable(ctx)
//
// The Register is for package cluster and, by [replaystore.FromRegister], for one process: a second
// one that saves the same key gets [replaystore.ErrConflict].
//
// # Rows and marker in one transaction
//
// A handler that ends its transaction with [SaveTx] writes its rows exactly once, whatever crashes
// and however often an event comes:
//
//	func handle(ctx context.Context, msg *sfstream.Message) error {
//		tx, err := db.BeginTx(ctx, nil)
//		if err != nil {
//			return err
//		}
//		defer tx.Rollback()
//		// … write rows with tx …
//		switch err := sqlstore.SaveTx(ctx, tx, msg); {
//		case errors.Is(err, replaystore.ErrHandled):
//			return nil // committed before, and its reply was lost: roll back
//		case err != nil:
//			return err
//		}
//		return tx.Commit()
//	}
//
// The client needs a store that is made of the register, and the channel must be handled in order,
// one message at a time: [sfstream.Workers](1), a loop, or several messages in one transaction. An
// error of Commit leaves open whether it happened: handle the message again, for which
// [sfstream.OnError] has Retry, and SaveTx tells. Rows that are written elsewhere, or with another
// transaction, are not covered.
//
// The last Commit of a process that was killed may come when its successor has loaded the marker.
// With package cluster it has happened, or never will, when the successor starts. With FromRegister
// the successor's SaveTx returns ErrConflict then, before anything is written twice, and its client
// ends: start it again, as after any crash.
//
// # The table
//
// One table has a row for each key, which [Register.CreateTable] makes. Migrations can make it as
// well:
//
//	CREATE TABLE sfstream_register (key bytea PRIMARY KEY, rev text NOT NULL, value bytea NOT NULL) -- PostgreSQL
//	CREATE TABLE sfstream_register (key blob PRIMARY KEY, rev text NOT NULL, value blob NOT NULL)   -- SQLite
//
// Keys are bytes, so that no collation and no encoding makes two of them one; PostgreSQL shows them
// by convert_from(key, 'UTF8'). Nobody else should write to the table, and a row that is deleted is
// a marker that is lost: a process that has seen it creates it again with the last marker that it
// knows; one that starts at that moment cannot know of it, and starts at new events.
//
// # What PostgreSQL must be told
//
//   - fsync and synchronous_commit are on as it is installed. With "synchronous_commit = off" a crash
//     of the server loses the last commits, rows and marker together.
//   - Replication is asynchronous as it is installed. A failover to a standby that is behind loses
//     the last commits, too. With synchronous_standby_names and "synchronous_commit = on" what was
//     committed is on the standby as well.
//   - Where commits of SaveTx are lost, the client ends with ErrConflict, and whoever starts next makes
//     the rows again. It cannot tell where it was the very last commit alone, and neither another
//     SaveTx nor a Save has seen that one: this row is missing. The rows are missing, too, where the
//     channel's row was lost altogether.
//   - The handle must lead to the primary. A standby is refused, because what it has may be old.
//   - The transaction of SaveTx should be READ COMMITTED, which is the default. In a stricter one
//     SaveTx fails (SQLSTATE 40001) where the marker was saved since the transaction began, and the
//     message must be handled again.
//   - A process that is stopped, or a machine that is cut off, between SaveTx and Commit has the
//     channel's row locked, and nobody can take the channel over. So SaveTx sets
//     idle_in_transaction_session_timeout to 5 seconds for the rest of its transaction, unless it is
//     set already, or the transaction makes the row: the first one of a channel with FromRegister.
//     Set it yourself where your own statements lock what a successor needs.
//   - Any driver will do that knows $1: pgx (package stdlib) and lib/pq do. A connection pooler may be
//     between, also one per transaction.
//
// # What SQLite must be told
//
//   - "PRAGMA synchronous = FULL", which is the default of SQLite itself. With NORMAL in WAL mode a
//     crash of the machine loses the last commits.
//   - "PRAGMA busy_timeout = 5000" or so, in each connection: a register has several callers.
//   - Transactions of SaveTx begin with BEGIN IMMEDIATE: one that has read before another writes
//     cannot write any more (SQLITE_BUSY). modernc.org/sqlite has the DSN parameter _txlock=immediate
//     for it, as mattn/go-sqlite3 has.
//   - The processes that share the file must be on one machine.
package sqlstore
