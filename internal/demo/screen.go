package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// screen is where frames go: a terminal that is redrawn in place, or a stream of blocks.
type screen struct {
	out   io.Writer
	fd    int // of the terminal; -1: none
	every time.Duration
}

// ANSI, and nothing that a terminal of the last thirty years does not know.
const (
	enter = "\x1b[?1049h\x1b[?25l" // alternate screen, cursor off
	leave = "\x1b[?25h\x1b[?1049l"
	home  = "\x1b[H"
	eol   = "\x1b[K" // clears the rest of a line
	below = "\x1b[J" // clears what is below
	reset = "\x1b[0m"
)

// blockWidth is the width of a view that is not on a terminal.
const blockWidth = 110

func newScreen(out io.Writer, every time.Duration) *screen {
	s := &screen{out: out, fd: -1, every: every}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.fd = int(f.Fd())
	}
	if s.every <= 0 {
		s.every = 5 * time.Second
		if s.fd >= 0 {
			s.every = 250 * time.Millisecond
		}
	}
	return s
}

// run shows what snapshot returns until ctx is done. Its error is one of writing.
func (s *screen) run(ctx context.Context, snapshot func() snapshot) error {
	if s.fd >= 0 {
		if _, err := io.WriteString(s.out, enter); err != nil {
			return err
		}
	}
	for wait(ctx, s.every) {
		if err := s.draw(snapshot()); err != nil {
			return err
		}
	}
	return nil
}

// close gives the terminal back as it was.
func (s *screen) close() {
	if s.fd >= 0 {
		_, _ = io.WriteString(s.out, leave)
	}
}

func (s *screen) draw(snap snapshot) error {
	var b bytes.Buffer
	if s.fd < 0 {
		write(&b, frame(snap, blockWidth, 0), false, "")
		b.WriteByte('\n')
		_, err := s.out.Write(b.Bytes())
		return err
	}
	width, height, err := term.GetSize(s.fd) // each time: the window may have changed
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	b.WriteString(home)
	write(&b, frame(snap, width, height-1), os.Getenv("NO_COLOR") == "", eol)
	b.WriteString(below)
	_, err = s.out.Write(b.Bytes())
	return err
}

// write writes lines, with colours or without, and end before each newline.
func write(b *bytes.Buffer, lines [][]text, colours bool, end string) {
	for _, l := range lines {
		for _, t := range l {
			b.WriteString(paint(t, colours))
		}
		b.WriteString(end + "\n")
	}
}

func paint(t text, colours bool) string {
	code := [...]string{plain: "", good: "\x1b[32m", note: "\x1b[33m", bad: "\x1b[31m", dim: "\x1b[2m", bold: "\x1b[1m"}[t.tone]
	if !colours || code == "" {
		return t.s
	}
	return code + t.s + reset
}

// printSummary says how it ended.
func printSummary(out io.Writer, s snapshot) error {
	t := s.sum
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%s pushes with %s items in %s.\n", count(t.pushes), count(t.sent), s.up.Round(time.Second))
	write(&b, append(bookLines(s), lessLines(s)...), false, "")
	if s.balanced() {
		fmt.Fprintf(&b, "All %s acknowledged items arrived in Grafana Cloud as they were sent, or as a rule wants them, in their own environment, with its credential.\n", count(t.acknowledged))
		b.WriteString("Nothing was lost. Nothing was stored twice but what a sender had to send again without an answer")
		fmt.Fprintf(&b, " (%s items).\n", count(t.resent))
	} else {
		b.WriteString("The books do not balance: this is a defect, of the gateway or of the demo.\n")
		for i, v := range s.violations {
			if i == 10 {
				fmt.Fprintf(&b, "  and %d more\n", len(s.violations)-i)
				break
			}
			fmt.Fprintf(&b, "  %s\n", v)
		}
	}
	_, err := out.Write(b.Bytes())
	return err
}
