package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// broker is a real server of a kind of target.
type broker struct {
	kind string
	env  []string // settings of the target T
	stop func()   // nil: it cannot be stopped and started again with what it has
	run  func()
	// told returns all that the server, or who listens to it, has of events, as text.
	told func() string
}

// free returns a port that nothing listens on. A test that is parallel needs addresses.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	return port
}

// settings are the variables of the target T of a kind, from pairs.
func settings(kind string, pairs ...string) []string {
	env := []string{"SHOAL_NOTIFY_" + kind + "_ENABLE_T=on"}
	for i := 0; i < len(pairs); i += 2 {
		env = append(env, "SHOAL_NOTIFY_"+kind+"_"+pairs[i]+"_T="+pairs[i+1])
	}
	return env
}

// daemon is a program that runs until stop.
type daemon struct {
	t    *testing.T
	args []string
	env  []string
	as   *syscall.Credential
	ends syscall.Signal // what ends it; 0: SIGTERM
	up   string         // address at which it can be reached when it is up
	cmd  *exec.Cmd
}

func (d *daemon) run() {
	d.t.Helper()
	d.cmd = exec.Command(d.args[0], d.args[1:]...)
	d.cmd.Env = append(os.Environ(), d.env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.as, Setpgid: true}
	must(d.t, d.cmd.Start())
	eventually(d.t, d.args[0]+" is up", func() bool {
		c, err := net.Dial("tcp", d.up)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	if d.ends == 0 {
		d.ends = syscall.SIGTERM
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, d.ends) // it may have ended
	patience := time.AfterFunc(30*time.Second, func() {
		d.t.Errorf("%s does not end", d.args[0])
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // the same
	})
	defer patience.Stop()
	_ = d.cmd.Wait() // it was told to end
	d.cmd = nil
}

// startDaemon runs a program that test/run has installed until the test is over.
func startDaemon(t *testing.T, d *daemon) *daemon {
	t.Helper()
	path, err := exec.LookPath(d.args[0])
	if err != nil {
		t.Fatalf("%s is missing; test/run installs it", d.args[0])
	}
	d.t, d.args[0] = t, path
	d.run()
	t.Cleanup(d.stop)
	return d
}

func redisBroker(t *testing.T, format string) *broker {
	port := free(t)
	d := startDaemon(t, &daemon{
		args: []string{"redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--appendonly", "yes", "--requirepass", "redis-secret", "--save", ""},
		up:   "127.0.0.1:" + port,
	})
	ask := []string{"HVALS", "events"}
	if format == "access" {
		ask = []string{"LRANGE", "events", "0", "-1"}
	}
	cli := client(t, "redis-cli", []string{"REDISCLI_AUTH=redis-secret"}, "-p", port)
	return &broker{
		kind: "redis", stop: d.stop, run: d.run,
		env: settings("REDIS", "ADDRESS", d.up, "KEY", "events", "FORMAT", format, "PASSWORD", "redis-secret"),
		told: func() string {
			out, _ := cli.try(t, ask...) // it may be loading yet
			return out
		},
	}
}

func mqttBroker(t *testing.T) *broker {
	port, dir := free(t), t.TempDir()
	file := filepath.Join(dir, "mosquitto.conf")
	must(t, os.WriteFile(file, []byte("user root\nlistener "+port+" 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location "+dir+"/\n"), 0o644))
	d := startDaemon(t, &daemon{args: []string{"mosquitto", "-c", file}, up: "127.0.0.1:" + port})
	var seen text
	// A session that the broker remembers, so that nothing is missed.
	o := mqtt.NewClientOptions().AddBroker("tcp://" + d.up).SetClientID("listener").SetCleanSession(false).SetMaxReconnectInterval(100 * time.Millisecond).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { seen.add(m.Payload()) })
	c := mqtt.NewClient(o)
	await := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(30*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	await(c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	await(c.Subscribe("shoal/events", 1, nil))
	return &broker{
		kind: "mqtt", stop: d.stop, run: d.run, told: seen.String,
		env: settings("MQTT", "BROKER", "tcp://"+d.up, "TOPIC", "shoal/events", "QOS", "1", "RECONNECT_INTERVAL", "1"),
	}
}

// natsBroker is a NATS server whose stream, with JetStream, survives its end.
func natsBroker(t *testing.T, stream bool) *broker {
	options := &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: stream, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "u", Password: "nats-secret"}
	var server *natsserver.Server
	run := func() {
		t.Helper()
		var err error
		server, err = natsserver.NewServer(options)
		must(t, err)
		server.Start()
		if !server.ReadyForConnections(30 * time.Second) {
			t.Fatal("the NATS server does not start")
		}
		options.Port = server.Addr().(*net.TCPAddr).Port
	}
	run()
	stop := func() {
		server.Shutdown()
		server.WaitForShutdown()
	}
	t.Cleanup(stop)
	conn, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", options.Port), nats.UserInfo("u", "nats-secret"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must(t, err)
	t.Cleanup(conn.Close)
	b := &broker{kind: "nats", env: settings("NATS", "ADDRESS", fmt.Sprintf("127.0.0.1:%d", options.Port), "SUBJECT", "events", "USERNAME", "u", "PASSWORD", "nats-secret")}
	var seen text
	b.told = seen.String
	if !stream {
		_, err = conn.Subscribe("events", func(m *nats.Msg) { seen.add(m.Data) })
		must(t, err)
		must(t, conn.Flush())
		return b
	}
	b.env = append(b.env, "SHOAL_NOTIFY_NATS_JETSTREAM_T=on")
	b.stop, b.run = stop, run
	js, err := jetstream.New(conn)
	must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}})
	must(t, err)
	b.told = func() string {
		var all text
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "EVENTS")
		if err != nil {
			return ""
		}
		for i := uint64(1); i <= s.CachedInfo().State.LastSeq; i++ {
			if m, err := s.GetMsg(ctx, i); err == nil {
				all.add(m.Data)
			}
		}
		return all.String()
	}
	return b
}

func kafkaBroker(t *testing.T) *broker {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "events"))
	must(t, err)
	t.Cleanup(cluster.Close)
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	t.Cleanup(c.Close)
	var seen text
	return &broker{
		kind: "kafka", env: settings("KAFKA", "BROKERS", strings.Join(cluster.ListenAddrs(), ","), "TOPIC", "events"),
		told: func() string {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			c.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen.add(r.Value) })
			return seen.String()
		},
	}
}

func amqpBroker(t *testing.T) *broker {
	port, dir := free(t), t.TempDir()
	node, mapper := "shoal"+port+"@localhost", free(t)
	t.Cleanup(func() { _ = exec.Command("epmd", "-port", mapper, "-kill").Run() }) // RabbitMQ leaves it behind
	d := startDaemon(t, &daemon{args: []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"}, up: "127.0.0.1:" + port, env: []string{
		"RABBITMQ_NODENAME=" + node, "ERL_EPMD_PORT=" + mapper, "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + port, "RABBITMQ_DIST_PORT=" + free(t),
		"RABBITMQ_MNESIA_BASE=" + dir, "RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"),
		"RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"), "HOME=" + dir,
	}})
	url := "amqp://guest:guest@" + d.up + "/"
	var seen text
	// A queue that outlives the broker, read anew each time.
	told := func() string {
		conn, err := amqp.Dial(url)
		if err != nil {
			return seen.String()
		}
		defer conn.Close()
		c, err := conn.Channel()
		must(t, err)
		must(t, c.ExchangeDeclare("events", "fanout", true, false, false, false, nil))
		_, err = c.QueueDeclare("events", true, false, false, false, nil)
		must(t, err)
		must(t, c.QueueBind("events", "", "events", false, nil))
		for {
			m, ok, err := c.Get("events", true)
			if err != nil || !ok {
				return seen.String()
			}
			seen.add(m.Body)
		}
	}
	eventually(t, "RabbitMQ lets clients in", func() bool {
		conn, err := amqp.Dial(url)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	told()
	return &broker{
		kind: "amqp", stop: d.stop, run: d.run, told: told,
		env: settings("AMQP", "URL", url, "EXCHANGE", "events", "EXCHANGE_TYPE", "fanout", "DURABLE", "on", "MANDATORY", "on"),
	}
}

func postgresBroker(t *testing.T, format string) *broker {
	port := free(t)
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is missing; test/run installs it")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "pg") // short enough for a socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := unprivileged(t, dir)
	setUp := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "shoal", "-A", "scram-sha-256", "--pwfile", filepath.Join(dir, "password"))
	must(t, os.WriteFile(filepath.Join(dir, "password"), []byte("pg-secret"), 0o644))
	setUp.SysProcAttr, setUp.Dir = &syscall.SysProcAttr{Credential: as}, dir
	if out, err := setUp.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	d := startDaemon(t, &daemon{
		args: []string{filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-p", port, "-h", "127.0.0.1", "-k", dir}, as: as, ends: syscall.SIGINT, up: "127.0.0.1:" + port,
	})
	psql := client(t, filepath.Join(bin, "psql"), []string{"PGPASSWORD=pg-secret"}, "-h", "127.0.0.1", "-p", port, "-U", "shoal", "-d", "postgres", "-At", "-c")
	return &broker{
		kind: "postgresql", stop: d.stop, run: d.run,
		env: settings("POSTGRES", "CONNECTION_STRING", "host=127.0.0.1 port="+port+" user=shoal password=pg-secret dbname=postgres sslmode=disable", "TABLE", "events", "FORMAT", format),
		told: func() string {
			out, _ := psql.try(t, "SELECT * FROM events") // there may be no table yet
			return out
		},
	}
}

// unprivileged returns whom PostgreSQL runs as, which refuses root, and gives him a
// directory.
func unprivileged(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	const nobody = 65534
	must(t, os.Chown(dir, nobody, nobody))
	return &syscall.Credential{Uid: nobody, Gid: nobody}
}

// targetKinds are the servers of this mode. Those that take long to start belong to the
// long way.
func targetKinds() map[string]func(t *testing.T) *broker {
	kinds := map[string]func(t *testing.T) *broker{
		"redis namespace": func(t *testing.T) *broker { return redisBroker(t, "namespace") },
		"redis access":    func(t *testing.T) *broker { return redisBroker(t, "access") },
		"mqtt":            mqttBroker,
		"nats":            func(t *testing.T) *broker { return natsBroker(t, false) },
		"nats jetstream":  func(t *testing.T) *broker { return natsBroker(t, true) },
		"kafka":           kafkaBroker,
	}
	if full() {
		kinds["amqp"] = amqpBroker
		kinds["postgresql namespace"] = func(t *testing.T) *broker { return postgresBroker(t, "namespace") }
		kinds["postgresql access"] = func(t *testing.T) *broker { return postgresBroker(t, "access") }
	}
	return kinds
}

// TestEveryKindOfTargetIsToldThoughItWasAway writes while the real server is there, while
// it is not, and when it is back.
func TestEveryKindOfTargetIsToldThoughItWasAway(t *testing.T) {
	for name, begin := range targetKinds() {
		t.Run(name, func(t *testing.T) {
			b := begin(t)
			s := startWith(t, b.env, place{host: "127.0.0.1"}, t.TempDir())
			c := newS3(s)
			tellOf(t, c, "bucket", "arn:minio:sqs::T:"+b.kind)
			put := func(key string) {
				t.Helper()
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("x")})
				must(t, err)
			}
			told := func(key string) {
				t.Helper()
				eventually(t, "the target is told of "+key, func() bool { return strings.Contains(b.told(), `"`+key+`"`) })
			}
			put("before")
			told("before")
			if b.stop != nil {
				b.stop()
				put("while")
				b.run()
				told("while")
			}
			put("after")
			told("after")
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("before")})
			must(t, err)
			if strings.HasSuffix(name, "namespace") {
				eventually(t, "what is gone is gone there too", func() bool { return !strings.Contains(b.told(), `"before"`) })
			} else {
				eventually(t, "the target is told that it is gone", func() bool { return strings.Contains(b.told(), "ObjectRemoved:Delete") })
			}
			for _, secret := range []string{"redis-secret", "nats-secret", "pg-secret", "guest:guest"} {
				if strings.Contains(s.log(t), secret) {
					t.Errorf("the log holds %s", secret)
				}
			}
		})
	}
}
