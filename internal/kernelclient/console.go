package kernelclient

import (
	"bytes"
	"sync"
)

// consoleBytesMax bounds what is kept of a guest's console: its end, where the reason of a failure is.
const consoleBytesMax = 64 << 10

// console keeps the end of what a guest writes to its console.
type console struct {
	mu   sync.Mutex
	kept []byte
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p...)
	if extra := len(c.kept) - consoleBytesMax; extra > 0 {
		c.kept = bytes.Clone(c.kept[extra:])
	}
	return len(p), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(bytes.TrimSpace(c.kept))
}

// lastLines returns at most n lines from the end of text.
func lastLines(text string, n int) string {
	end := len(text)
	for ; n > 0 && end > 0; n-- {
		end = bytes.LastIndexByte([]byte(text[:end]), '\n')
	}
	if end < 0 {
		end = 0
	}
	return string(bytes.TrimSpace([]byte(text[end:])))
}
