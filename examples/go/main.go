// Command secret_reader asks Mayfly for this container's secrets, reads them, and reads them again after one rotation.
//
// It needs nothing but Go's standard library. The protocol is varlink: JSON and a NUL over a unix socket. Go can neither
// lock memory nor wipe a string: keep values in byte slices, and for as short as you can.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	iface   = "org.mayfly.Container"
	timeout = 30 * time.Second
)

type secret struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

type file struct {
	Path    string   `json:"path"`
	Secrets []secret `json:"secrets"`
}

type delivery struct {
	Lease      string `json:"lease"`
	Target     string `json:"target"`
	Generation int64  `json:"generation"`
	Files      []file `json:"files"`
}

// parameters has what any reply or error may carry.
type parameters struct {
	Delivery     *delivery `json:"delivery"`
	IsNew        bool      `json:"is_new"`
	Text         string    `json:"text"`
	Advice       string    `json:"advice"`
	Limit        string    `json:"limit"`
	Nonce        string    `json:"nonce"`
	RetryAfterMs int64     `json:"retry_after_ms"`
}

type reply struct {
	Error      string     `json:"error"`
	Parameters parameters `json:"parameters"`
}

// failure is what the broker answers instead.
type failure struct{ reply }

func (f *failure) Error() string {
	words := []string{f.name()}
	for _, word := range []string{f.Parameters.Text, f.Parameters.Limit, f.Parameters.Advice} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, ": ")
}

func (f *failure) name() string { return strings.TrimPrefix(f.reply.Error, iface+".") }

func socketPath() string {
	if path := os.Getenv("MAYFLY_SOCKET"); path != "" {
		return path
	}
	return "/run/mayfly/container.sock"
}

// connection belongs to the process that has opened it: the broker answers no other.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func connect() (*connection, error) {
	socket, err := net.Dial("unix", socketPath())
	if err != nil {
		return nil, err
	}
	return &connection{socket, bufio.NewReader(socket)}, nil
}

func (c *connection) send(method string, parameters any, more bool) error {
	message := map[string]any{"method": iface + "." + method, "parameters": parameters}
	if more {
		message["more"] = true
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = c.Write(append(text, 0))
	}
	return err
}

func (c *connection) receive() (*parameters, error) {
	text, err := c.reader.ReadBytes(0)
	if err != nil {
		return nil, err
	}
	var r reply
	if err := json.Unmarshal(text[:len(text)-1], &r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, &failure{r}
	}
	return &r.Parameters, nil
}

// call returns the first reply, whatever is needed to get it.
func (c *connection) call(method string, arguments any, more bool) (*parameters, error) {
	for {
		if err := c.send(method, arguments, more); err != nil {
			return nil, err
		}
		result, err := c.receive()
		var f *failure
		if !errors.As(err, &f) {
			return result, err
		}
		switch f.name() {
		case "EchoRequired": // Kernels before 6.5: proves that we live.
			if err := c.send("Echo", map[string]string{"nonce": f.Parameters.Nonce}, false); err != nil {
				return nil, err
			}
			if _, err := c.receive(); err != nil {
				return nil, err
			}
		case "TooMuch":
			time.Sleep(time.Duration(f.Parameters.RetryAfterMs) * time.Millisecond)
		default:
			return nil, f
		}
	}
}

// mayComeBack tells whether a broker that is being started again can be the reason of err. A directory that is not there
// is a mount that will not come.
func mayComeBack(err error) bool {
	var f *failure
	if errors.As(err, &f) {
		return f.name() == "NotYet"
	}
	if _, missing := os.Stat(filepath.Dir(socketPath())); missing != nil {
		return false
	}
	for _, passing := range []error{io.EOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.EAGAIN, fs.ErrNotExist} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// persistently makes attempt again, until end, when the broker goes away in between.
func persistently(end time.Time, attempt func(*connection) (*parameters, error)) (*parameters, error) {
	for {
		var result *parameters
		c, err := connect()
		if err == nil {
			result, err = attempt(c)
			c.Close()
		}
		if err == nil || !mayComeBack(err) || time.Now().After(end) {
			return result, err
		}
		time.Sleep(100*time.Millisecond + time.Duration(rand.Int63n(int64(400*time.Millisecond))))
	}
}

func request(c *connection) (*parameters, error) {
	if err := c.SetDeadline(time.Now().Add(timeout + 5*time.Second)); err != nil {
		return nil, err
	}
	return c.call("Request", map[string]int64{"wait_ms": timeout.Milliseconds()}, false)
}

// nextGeneration waits for another generation than the one of old. What happens before the watch is told as "present".
func nextGeneration(old *delivery) func(*connection) (*parameters, error) {
	return func(c *connection) (*parameters, error) {
		told, err := c.call("Watch", struct{}{}, true)
		for ; err == nil; told, err = c.receive() {
			d := told.Delivery
			if d != nil && d.Lease == old.Lease && d.Generation > old.Generation {
				return told, nil
			}
		}
		return nil, err
	}
}

// readValues returns each path's value, all of one generation: a user's name and its password belong together.
func readValues(d *delivery) (map[string][]byte, error) {
	directory, err := filepath.EvalSymlinks(filepath.Join(d.Target, "..data"))
	if errors.Is(err, fs.ErrNotExist) { // `layout: plain` has no generations.
		directory, err = d.Target, nil
	}
	values := map[string][]byte{}
	for i := 0; err == nil && i < len(d.Files); i++ {
		path := d.Files[i].Path
		values[path], err = os.ReadFile(filepath.Join(directory, strings.TrimPrefix(path, d.Target)))
	}
	return values, err
}

// use is where a program takes its values: here they are counted.
func use(what string, d *delivery) error {
	values, err := readValues(d)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, generation %d\n", what, d.Target, d.Generation)
	for _, f := range d.Files {
		fmt.Printf("  %s: %s version %d, %d bytes\n", f.Path, f.Secrets[0].Name, f.Secrets[0].Version, len(values[f.Path]))
	}
	return nil
}

func run() error {
	first, err := persistently(time.Now().Add(timeout), request)
	if err != nil {
		return err
	}
	what := "was there already"
	if first.IsNew {
		what = "delivered"
	}
	if err := use(what, first.Delivery); err != nil {
		return err
	}
	never := time.Now().AddDate(100, 0, 0)
	next, err := persistently(never, nextGeneration(first.Delivery))
	if err != nil {
		return err
	}
	return use("rotated", next.Delivery)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
