package effect

import (
	"bytes"
	"errors"
)

// A copyCounter counts the rows that have a value in one column, in what pg_restore
// writes of a table's data: COPY TABLE (COLUMNS) FROM stdin; and a line for each row.
// It holds no row, however long.
type copyCounter struct {
	table, column string

	// n is how many such rows there were.
	n int64

	state copyState

	// line is the beginning of a line, or a list of columns, that isn't whole yet.
	line []byte

	// wanted is which column counts, and field which one is being read. value is the
	// beginning of what is in it, and start whether nothing of the row has been read.
	wanted, field int
	value         []byte
	start         []byte
}

type copyState int

const (
	outsideCopy copyState = iota
	inColumns
	inRows
)

// longestColumns is beyond any list of columns: a table has 1,600 at most.
const longestColumns = 1 << 20

func (c *copyCounter) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		switch c.state {
		case outsideCopy:
			b = c.outside(b)
		case inColumns:
			var err error
			if b, err = c.columns(b); err != nil {
				return 0, err
			}
		case inRows:
			b = c.rows(b)
		}
	}
	return written, nil
}

// outside of a table's data, lines are passed over until one begins with COPY.
func (c *copyCounter) outside(b []byte) []byte {
	begin := []byte("COPY " + c.table + " (")
	for i, char := range b {
		switch {
		case char == '\n':
			c.line = c.line[:0]
		case len(c.line) < len(begin):
			c.line = append(c.line, char)
			if bytes.Equal(c.line, begin) {
				c.state, c.line = inColumns, c.line[:0]
				return b[i+1:]
			}
		}
	}
	return nil
}

// columns are read up to the end of the line. A quoted one may hold anything, line
// ends and brackets included.
func (c *copyCounter) columns(b []byte) ([]byte, error) {
	for i, char := range b {
		if char != '\n' || bytes.Count(c.line, []byte(`"`))%2 == 1 {
			c.line = append(c.line, char)
			if len(c.line) > longestColumns {
				return nil, errors.New("the dump's list of a table's columns has no end")
			}
			continue
		}
		c.wanted = c.index(string(c.line))
		c.state, c.field, c.value, c.start, c.line = inRows, 0, c.value[:0], c.start[:0], c.line[:0]
		return b[i+1:], nil
	}
	return nil, nil
}

// index of the column in a list of columns, or -1. Its name needs no quotes.
func (c *copyCounter) index(list string) int {
	field, quoted, name := 0, false, []byte{}
	for i := range len(list) {
		switch char := list[i]; {
		case char == '"':
			quoted = !quoted
			name = append(name, char)
		case quoted:
			name = append(name, char)
		case char == ',' || char == ')':
			if string(name) == c.column {
				return field
			}
			if char == ')' {
				return -1
			}
			field, name = field+1, name[:0]
		case char != ' ':
			name = append(name, char)
		}
	}
	return -1
}

// rows have a line each, fields with tabs in between, \N where there is no value. In
// a value, a line end or tab is written with a backslash and a letter. A line with
// a backslash and a dot ends them.
func (c *copyCounter) rows(b []byte) []byte {
	for i, char := range b {
		if len(c.start) < 3 {
			c.start = append(c.start, char)
		}
		switch char {
		case '\n':
			if string(c.start) == "\\.\n" {
				c.state = outsideCopy
				return b[i+1:]
			}
			if c.field >= c.wanted && c.wanted >= 0 && len(c.value) > 0 && string(c.value) != `\N` {
				c.n++
			}
			c.field, c.value, c.start = 0, c.value[:0], c.start[:0]
		case '\t':
			c.field++
		default:
			if c.field == c.wanted && len(c.value) < 3 {
				c.value = append(c.value, char)
			}
		}
	}
	return nil
}
