package target

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/shoal-storage/shoal/internal/events"
)

// table keeps events in a table of PostgreSQL: a row for each object that is there, or
// one for each event.
type table struct {
	conns *pool[*pgconn.PgConn]
	made  atomic.Bool
	statements
}

// statements are what a table of a format needs.
type statements struct{ create, put, remove string }

const (
	postgresConnections = 4
	postgresMost        = 100
	postgresEnd         = 2 * time.Second // for a connection to be closed
)

func openPostgres(ctx context.Context, s Settings) (events.Sender, error) {
	connection, err := s.required("connection_string")
	if err != nil {
		return nil, err
	}
	name, err := s.required("table")
	if err != nil {
		return nil, err
	}
	f, err := s.format()
	if err != nil {
		return nil, err
	}
	words, err := statementsOf(name, f)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(connection)
	if err != nil {
		return nil, errors.New("connection_string is not one of PostgreSQL") // the error may show it
	}
	most, err := s.number("max_open_connections", postgresConnections)
	if err != nil || most < 1 || most > postgresMost {
		return nil, errors.New("max_open_connections is not a number from 1 to 100")
	}
	background := context.WithoutCancel(ctx)
	to := &table{statements: words}
	to.conns = newPool(most, func(ctx context.Context) (*pgconn.PgConn, error) {
		c, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			return nil, errors.New("cannot connect, or log in") // the error tells how
		}
		return c, nil
	}, func(c *pgconn.PgConn) {
		ctx, cancel := context.WithTimeout(background, postgresEnd)
		defer cancel()
		_ = c.Close(ctx) // what it has not answered is sent again
	})
	return to, nil
}

// statementsOf returns the statements for a table, whose name stands in them as it is.
func statementsOf(name, format string) (statements, error) {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$`).MatchString(name) {
		return statements{}, errors.New("table is not a name of letters, digits and underscores, perhaps with that of a schema before it")
	}
	if format == access {
		return statements{
			create: "CREATE TABLE IF NOT EXISTS " + name + " (event_time TIMESTAMP WITH TIME ZONE NOT NULL, event_data JSONB)",
			put:    "INSERT INTO " + name + " (event_time, event_data) VALUES ($1, $2)",
		}, nil
	}
	return statements{
		create: "CREATE TABLE IF NOT EXISTS " + name + " (key VARCHAR PRIMARY KEY, value JSONB)",
		put:    "INSERT INTO " + name + " (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
		remove: "DELETE FROM " + name + " WHERE key = $1",
	}, nil
}

// Send implements events.Sender. A test event is nothing to keep.
func (to *table) Send(ctx context.Context, m *events.Message) error {
	if m.Test() {
		return nil
	}
	if !to.made.Load() {
		if err := to.exec(ctx, "make the table", to.create); err != nil {
			return err
		}
		to.made.Store(true)
	}
	if m.Removes() && to.remove != "" {
		return to.exec(ctx, "delete", to.remove, m.Object())
	}
	value, err := m.Records()
	if err != nil {
		return err
	}
	key := m.Object()
	if to.remove == "" {
		key = m.Time.UTC().Format(time.RFC3339Nano)
	}
	return to.exec(ctx, "insert", to.put, key, string(value))
}

// exec carries out a statement whose values are text.
func (to *table) exec(ctx context.Context, what, statement string, values ...string) error {
	raw := make([][]byte, len(values))
	for i, v := range values {
		raw[i] = []byte(v)
	}
	err := to.conns.use(ctx, func(c *pgconn.PgConn) (bool, error) {
		_, err := c.ExecParams(ctx, statement, raw, nil, nil, nil).Close()
		return !c.IsClosed(), err
	})
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(p.Code, "22") { // data exception
		err = errors.Join(err, events.ErrRefused)
	}
	return fmt.Errorf("%s in PostgreSQL: %w", what, err)
}

// Close implements events.Sender.
func (to *table) Close() error {
	to.conns.shut()
	return nil
}
