package redisstore

import "context"

// wait returns what call returns, or ctx.Err() soon after ctx has ended. go-redis waits for a reply
// as long as its own timeouts say, whatever becomes of ctx; so does the goroutine that is left
// then, which is why call must not use memory of the caller's. A ctx that has ended already calls
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
