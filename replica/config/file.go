package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"bfsd/replica/auth/atomicfile"
)

// maxFile bounds cluster.toml; 13 replicas and 1024 gateways fit in a quarter of it.
const maxFile = 1 << 20

// Load reads and validates a cluster file.
func Load(path string) (*Cluster, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the cluster file: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("cluster file %s: %w", path, err)
	}
	return c, nil
}

// Parse decodes and validates the contents of a cluster file. Limits, tunables and optimisations that are not in it
// have their defaults; a field it should not have is an error, for it is a misspelled one.
func Parse(data []byte) (*Cluster, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	c := &Cluster{Durability: Disk, Limits: DefaultLimits(), Tunables: DefaultTunables(), Optimisations: AllOptimisations()}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(c); err != nil {
		return nil, explain(err)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// explain turns the decoder's error into one that names the line and the field.
func explain(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		problems := make([]error, 0, len(unknown.Errors))
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			line, _ := e.Position()
			problems = append(problems, fmt.Errorf("line %d: there is no field %s: correct its name or remove it", line, strings.Join(e.Key(), ".")))
		}
		return errors.Join(problems...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		if key := strings.Join(wrong.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: %w", line, key, err)
		}
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}

// Encode gives the contents of a cluster file, with a comment at every field.
func (c *Cluster) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("encoding a cluster file: %w", err)
	}
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "# A bfsd cluster of %d replicas, of which %d may be faulty.\n"+
		"# It holds no secrets. All replicas and gateways must have the same copy, from somebody you trust:\n"+
		"# whoever can change it decides who the members are.\n\n", c.N(), c.F())
	if err := toml.NewEncoder(&buf).Encode(c); err != nil {
		return nil, fmt.Errorf("encoding a cluster file: %w", err)
	}
	return buf.Bytes(), nil
}

// Save writes the cluster file, replacing an older one as a whole.
func (c *Cluster) Save(path string) error {
	data, err := c.Encode()
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(path, data, 0o644); err != nil {
		return fmt.Errorf("saving the cluster file: %w", err)
	}
	return nil
}
