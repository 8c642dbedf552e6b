package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// SaveTx writes into tx that msg and those of following are handled, so that the program's rows in
// tx and the replay marker are committed together or not at all. Call it as the last statement
// before tx.Commit, once for each channel: it locks the channel's row, for which other Saves wait
// until tx ends, and who takes the channel over. PostgreSQL ends a tx that is idle for 5 seconds
// after it (see the package's documentation). The messages are the next ones of one channel, as
// [sfstream.Message.Advance] has it, and count as handled by the client once they are acked: a
// handler that returns nil does so.
//
// The error is [replaystore.ErrHandled] if they were committed before and the reply was lost: roll
// back, and ack. It is [replaystore.ErrConflict] if another process has the channel; the client has
// ended then. It is [sfstream.ErrInvalidOption] if a message before them is not handled, or the
// client's markers are not in a [Register] of this package. After any error tx must be rolled back.
//
// After a Commit that has failed, make a transaction of the same messages again: one of others that
// begin with the same could write rows twice, and SaveTx refuses it.
//
// tx must be of the register's database: nobody can tell, and in another one the rows are not
// protected.
func SaveTx(ctx context.Context, tx *sql.Tx, msg *sfstream.Message, following ...*sfstream.Message) error {
	advance, err := msg.Advance(ctx, following...)
	if err != nil {
		return err
	}
	r, ok := advance.Register.(*Register)
	if !ok {
		return fmt.Errorf("%w: sqlstore.SaveTx: the client's markers are in a %T: one transaction needs a register of NewPostgres or NewSQLite", sfstream.ErrInvalidOption, advance.Register)
	}
	for range 2 {
		done, err := r.step(ctx, tx, advance)
		if done || err != nil {
			return err
		}
	}
	return r.failed("creating", advance.Key, errors.New("the transaction does not see the row that another one has created: it should be READ COMMITTED"))
}

// step writes the marker. It is not done where another transaction has created the row since this
// one has looked.
func (r *Register) step(ctx context.Context, tx *sql.Tx, advance replaystore.Advance) (done bool, err error) {
	key, statement := []byte(advance.Key), r.statements.set
	var stored []byte
	var limit sql.NullString
	switch err := tx.QueryRowContext(ctx, r.statements.lock, key).Scan(&stored, &limit); {
	case errors.Is(err, sql.ErrNoRows):
		statement = r.statements.insert
	case err != nil:
		return false, r.failed("locking", advance.Key, err)
	default:
		stored = blob(stored)
	}
	value, err := advance.Next(stored)
	if err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, statement, key, rand.Text(), value)
	if err != nil {
		return false, r.failed("writing", advance.Key, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, r.failed("writing", advance.Key, err)
	}
	return n > 0, nil
}
