package kernelclient

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The host and the agent exchange one JSON object per line over one TCP connection. The host numbers its requests; any
// number may be in progress. The agent answers each with any number of output frames and one last frame (Done).

// frameBytesMax bounds a line in either direction.
const frameBytesMax = 8 << 20

// chunkBytesMax bounds the output in one frame.
const chunkBytesMax = 64 << 10

// What a request asks for.
const (
	opModules   = "modules"   // insert kernel modules
	opMount     = "mount"     // mount a file system
	opUnmount   = "unmount"   // unmount it
	opExec      = "exec"      // run a program
	opCall      = "call"      // call a Handler
	opCancel    = "cancel"    // end the request with the number Target
	opKernelLog = "kernellog" // the kernel's messages
	opPowerOff  = "poweroff"  // end the guest
)

type request struct {
	ID      uint64          `json:"id"`
	Op      string          `json:"op"`
	Target  uint64          `json:"target,omitempty"`
	Modules []string        `json:"modules,omitempty"`
	Mount   *mountRequest   `json:"mount,omitempty"`
	Unmount *unmountRequest `json:"unmount,omitempty"`
	Exec    *Job            `json:"exec,omitempty"`
	Call    *callRequest    `json:"call,omitempty"`
}

type mountRequest struct {
	Source string `json:"source"`
	Dir    string `json:"dir"`
	Data   string `json:"data"`
	Flags  uint64 `json:"flags,omitempty"`
}

type unmountRequest struct {
	Dir   string `json:"dir"`
	Force bool   `json:"force,omitempty"`
}

type callRequest struct {
	Name string          `json:"name"`
	In   json.RawMessage `json:"in,omitempty"`
}

type response struct {
	ID     uint64          `json:"id"`
	Stdout []byte          `json:"stdout,omitempty"`
	Stderr []byte          `json:"stderr,omitempty"`
	Done   bool            `json:"done,omitempty"`
	Error  string          `json:"error,omitempty"`
	Exit   int             `json:"exit,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// readFrame reads one line of at most frameBytesMax bytes into frame.
func readFrame(r *bufio.Reader, frame any) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > frameBytesMax {
			return fmt.Errorf("frame from the other side is longer than %d bytes", frameBytesMax)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			if err := json.Unmarshal(line, frame); err != nil {
				return fmt.Errorf("frame from the other side: %w", err)
			}
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}

// frameWriter writes whole lines, from any goroutine.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) write(frame any) error {
	line, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	if len(line) >= frameBytesMax {
		return fmt.Errorf("frame of %d bytes is longer than %d", len(line), frameBytesMax)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = f.w.Write(append(line, '\n'))
	return err
}

// outputWriter turns what is written to it into output frames of one request.
type outputWriter struct {
	frames *frameWriter
	id     uint64
	stderr bool
}

func (o outputWriter) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		chunk := p[written:min(len(p), written+chunkBytesMax)]
		frame := response{ID: o.id, Stdout: chunk}
		if o.stderr {
			frame.Stdout, frame.Stderr = nil, chunk
		}
		if err := o.frames.write(frame); err != nil {
			return written, err
		}
		written += len(chunk)
	}
	return written, nil
}
