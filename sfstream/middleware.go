package sfstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// A PanicError is the error of a handler that has panicked below [Recover].
type PanicError struct {
	Channel string // of the message
	Value   any    // what the handler panicked with
	Stack   []byte // of the handler's goroutine, as the runtime prints it: the first 8 KB

	place string // the function that has panicked, with its line
}

const (
	panicStack = 8 << 10 // bytes of PanicError.Stack
	panicText  = 500     // bytes of a panic's value in the error's text
)

// Error returns a text with the channel, the function that has panicked, and the value if it is an
// error or a text; of any other value, which may be of the message, it has the type.
func (e *PanicError) Error() string {
	var text string
	switch v := e.Value.(type) {
	case error:
		text = fmt.Sprint(v) // a nil pointer's Error may panic
	case string:
		text = v
	default:
		text = fmt.Sprintf("a %T", v)
	}
	if text = oneline.Text(text); len(text) > panicText {
		text = strings.ToValidUTF8(text[:panicText], "") + "…"
	}
	return fmt.Sprintf("sfstream: %s: the handler panicked%s: %s", e.Channel, e.place, text)
}

// Unwrap returns the value of the panic if it is an error, and no nil pointer.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil // errors.Is and errors.As would call its Unwrap, which may panic
	}
	return err
}

// Recover makes middleware that turns a panic of the handler into a *[PanicError]. Without it a
// panic ends the program.
func Recover() func(Handler) Handler {
	return func(h Handler) Handler {
		return func(ctx context.Context, m *Message) (err error) {
			defer func() {
				if v := recover(); v != nil {
					stack := make([]byte, panicStack)
					err = &PanicError{Channel: m.Channel, Value: v, Stack: stack[:runtime.Stack(stack, false)], place: panicPlace()}
				}
			}()
			return h(ctx, m)
		}
	}
}

// panicPlace finds the function that has panicked, for a deferred function that has recovered: below
// the runtime's own.
func panicPlace() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers[:])])
	panicked := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf(" in %s (%s:%d)", f.Function, path.Base(f.File), f.Line)
		case !more:
			return ""
		}
	}
}

// LogHandled makes middleware that logs each call of a handler: the message's channel and key, how
// long it took, its error, and of a *[PanicError] the stack; nothing of the payload but what the
// error tells. Success is logged as Debug, a failure as Warn. It is nil if log is.
func LogHandled(log *slog.Logger) func(Handler) Handler {
	if log == nil {
		return nil
	}
	return func(h Handler) Handler {
		return func(ctx context.Context, m *Message) error {
			began := time.Now()
			err := h(ctx, m)
			level, text := slog.LevelDebug, "message handled"
			if err != nil {
				level, text = slog.LevelWarn, "message not handled"
			}
			if !log.Enabled(ctx, level) {
				return err
			}
			attrs := []slog.Attr{slog.String("channel", m.Channel), slog.String("key", m.Key()), slog.Duration("took", time.Since(began))}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			var panicked *PanicError
			if errors.As(err, &panicked) {
				attrs = append(attrs, slog.String("stack", string(panicked.Stack)))
			}
			log.LogAttrs(ctx, level, text, attrs...)
			return err
		}
	}
}

// HandlerTimeout makes middleware that ends the handler's ctx after d. context.Cause tells it from
// the end of [Client.Run], and so does the handler's error, which wraps context.DeadlineExceeded. A
// handler that takes no notice of its ctx goes on: its message and those behind it wait until it
// returns, so that no two handlers ever have one. It is nil if d is not positive.
func HandlerTimeout(d time.Duration) func(Handler) Handler {
	if d <= 0 {
		return nil
	}
	return func(h Handler) Handler {
		return func(ctx context.Context, m *Message) error {
			late := &lateError{channel: m.Channel, limit: d}
			ctx, cancel := context.WithTimeoutCause(ctx, d, late)
			defer cancel()
			err := h(ctx, m)
			if err != nil && context.Cause(ctx) == late {
				return fmt.Errorf("%w: %w", late, err)
			}
			return err
		}
	}
}

// A lateError is the cause of a ctx that HandlerTimeout has ended.
type lateError struct {
	channel string
	limit   time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("sfstream: %s: the handler was not done after %v (HandlerTimeout)", e.channel, e.limit)
}

func (e *lateError) Is(target error) bool { return target == context.DeadlineExceeded }

// DeadLetter makes middleware that gives a message whose handler has failed, with its error, to a
// function that keeps it elsewhere. The message is handled when keep returns nil. If it fails, its
// error is the handler's, and says what the handler's was. It is called for the first failure:
// OnError(Retry(…), Skip(…)) is for what is to be tried again first. It is not called for a handler
// that the end of [Client.Run] has interrupted, whose message comes again. In [Mux.Use] it stands
// before [Recover], whose errors it keeps too, and [HandlerTimeout], whose ctx may have ended. It
// is nil if keep is.
func DeadLetter(keep func(context.Context, *Message, error) error) func(Handler) Handler {
	if keep == nil {
		return nil
	}
	return func(h Handler) Handler {
		return func(ctx context.Context, m *Message) error {
			failed := h(ctx, m)
			if failed == nil || context.Cause(ctx) == errDrained {
				return failed
			}
			if err := keep(ctx, m, failed); err != nil {
				return fmt.Errorf("sfstream: %s: dead letter: %w (of: %s)", m.Channel, err, oneline.Text(failed.Error()))
			}
			return nil
		}
	}
}
