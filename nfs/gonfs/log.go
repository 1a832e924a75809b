package gonfs

import (
	"context"
	"fmt"
	"log/slog"

	gonfs "github.com/willscott/go-nfs"
)

// go-nfs logs through a variable of its package, for instance an error for every name that does not exist. It is quiet
// here, unless slog's default logger is at debug level.
func init() { gonfs.SetLogger(quiet{}) }

// quiet is go-nfs's Logger.
type quiet struct{}

func (quiet) debug(msg func() string) {
	if slog.Default().Enabled(context.Background(), slog.LevelDebug) {
		slog.Debug("go-nfs", "msg", msg())
	}
}

func (q quiet) print(args []any) { q.debug(func() string { return fmt.Sprint(args...) }) }

func (q quiet) printf(format string, args []any) {
	q.debug(func() string { return fmt.Sprintf(format, args...) })
}

func (quiet) SetLevel(gonfs.LogLevel)  {}
func (quiet) GetLevel() gonfs.LogLevel { return gonfs.DebugLevel }
func (quiet) ParseLevel(s string) (gonfs.LogLevel, error) {
	return gonfs.DebugLevel, fmt.Errorf("gonfs: log level %q is slog's to set", s)
}

func (q quiet) Panic(args ...any) { q.print(args) }
func (q quiet) Fatal(args ...any) { q.print(args) }
func (q quiet) Error(args ...any) { q.print(args) }
func (q quiet) Warn(args ...any)  { q.print(args) }
func (q quiet) Info(args ...any)  { q.print(args) }
func (q quiet) Debug(args ...any) { q.print(args) }
func (q quiet) Trace(...any)      {}
func (q quiet) Print(args ...any) { q.print(args) }

func (q quiet) Panicf(format string, args ...any) { q.printf(format, args) }
func (q quiet) Fatalf(format string, args ...any) { q.printf(format, args) }
func (q quiet) Errorf(format string, args ...any) { q.printf(format, args) }
func (q quiet) Warnf(format string, args ...any)  { q.printf(format, args) }
func (q quiet) Infof(format string, args ...any)  { q.printf(format, args) }
func (q quiet) Debugf(format string, args ...any) { q.printf(format, args) }
func (quiet) Tracef(string, ...any)               {}
func (q quiet) Printf(format string, args ...any) { q.printf(format, args) }
