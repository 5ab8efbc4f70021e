package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// print prints a document for programs, or has people shown it.
func (r *adminRun) print(document any, people func(w io.Writer) error) error {
	out := r.cmd.OutOrStdout()
	var err error
	if r.json {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		err = e.Encode(document)
	} else {
		err = people(out)
	}
	if err != nil {
		return failed("print the answer", err, "")
	}
	return nil
}

// say prints a document, or a sentence.
func (r *adminRun) say(document any, sentence string) error {
	return r.print(document, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, printable(sentence))
		return err
	})
}

// table prints a document, or rows of cells below their names.
func (r *adminRun) table(document any, names []string, rows [][]string) error {
	return r.print(document, func(w io.Writer) error { return writeRows(w, append([][]string{names}, rows...)) })
}

// fields prints a document, or pairs of a name and a value. What has no value is left
// out.
func (r *adminRun) fields(document any, pairs ...[2]string) error {
	var rows [][]string
	for _, p := range pairs {
		if p[1] != "" {
			rows = append(rows, p[:])
		}
	}
	return r.print(document, func(w io.Writer) error { return writeRows(w, rows) })
}

func writeRows(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		shown := make([]string, len(cells))
		for i, cell := range cells {
			shown[i] = printable(cell)
		}
		_, _ = fmt.Fprintln(t, strings.Join(shown, "\t")) // Flush has the error
	}
	return t.Flush() //nolint:wrapcheck // the caller says what was printed
}

// printable returns a text as a terminal can be given it: what others have named could
// hold what moves its cursor.
func printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// enabledWord is how people are told whether something counts.
func enabledWord(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

// dated is a time as people are told it, "" for none.
func dated(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// joined is a list in a cell of a table.
func joined(names []string) string { return strings.Join(names, ", ") }

// number is the number of a user or group of a file system, "" for none.
func number(id *uint32) string {
	if id == nil {
		return ""
	}
	return decimal(int64(*id))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// sizeText is a number of bytes for people, with three digits.
func sizeText(n int64) string {
	if n < 1<<10 {
		return decimal(n) + " B"
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if value /= 1 << 10; value < 1000 {
			break
		}
	}
	return strconv.FormatFloat(value, 'g', 3, 64) + " " + unit
}

// limited is a limit for people.
func limited(n int64, text func(int64) string) string {
	if n == 0 {
		return "no limit"
	}
	return text(n)
}
