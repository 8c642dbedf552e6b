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
// before tx.Commit: it locks the channel's row, for which other Saves wait until tx ends. The
// messages are the next ones of one channel, as [sfstream.Message.Advance] has it, and count as
// handled by the client once they are acked: a handler that returns nil does so.
//
// The error is [replaystore.ErrHandled] if they were committed before and the reply was lost: roll
// back, and ack. It is [replaystore.ErrConflict] if another process has the channel; the client has
// ended then. It is [sfstream.ErrInvalidOption] if a message before them is not handled, or the
// client's markers are not in a [Register] of this package. After any error tx must be rolled back.
//
// A tx of another database than the register's finds no row of the channel, which is an error, or
// a row of another program's, which no marker protects.
func SaveTx(ctx context.Context, tx *sql.Tx, msg *sfstream.Message, following ...*sfstream.Message) error {
	advance, err := msg.Advance(ctx, following...)
	if err != nil {
		return err
	}
	r, ok := advance.Register.(*Register)
	if !ok {
		return fmt.Errorf("%w: sqlstore.SaveTx: the client's markers are in a %T: one transaction needs a register of NewPostgres or NewSQLite", sfstream.ErrInvalidOption, advance.Register)
	}
	key := []byte(advance.Key)
	var stored []byte
	switch err := tx.QueryRowContext(ctx, r.statements.lock, key).Scan(&stored); {
	case errors.Is(err, sql.ErrNoRows):
		return r.failed("locking", advance.Key, errors.New("there is no such row: it was deleted, or the transaction is of another database than the register's"))
	case err != nil:
		return r.failed("locking", advance.Key, err)
	}
	value, err := advance.Next(stored)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, r.statements.set, key, rand.Text(), value); err != nil {
		return r.failed("writing", advance.Key, err)
	}
	return nil
}

var _ replaystore.Register = (*Register)(nil)
