package com.webank.ai.eggroll.core.server;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.Properties;
import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.DefaultParser;
import org.apache.commons.cli.Options;
import org.apache.commons.cli.ParseException;

/**
 * The server of the sample's Java components: whoever connects gets one line, "NAME 1.1 ok". Who then sends the name of
 * another component gets a second one: what that one says to this one, which connects to it by its configuration.
 *
 * <p>As upstream's servers do, it wants its properties file by {@code -c} (relative to the working directory) and its
 * applicationContext-NAME.xml on the class path. A component shipped without its conf/ therefore ends with exit code 1,
 * a wrong command line with 2.
 */
public final class LineServer {
    private static final int LINGER_MILLIS = 1000;

    private final String name;
    private final Properties conf;

    /** What a component answers to a line: the line of the component that it names. */
    public interface Answers {
        String to(String question) throws Exception;
    }

    /** Reads the configuration that the command line names, or ends the process with a message. */
    public LineServer(String name, String[] args) {
        this.name = name;
        this.conf = load(confFile(args));
        String context = "applicationContext-" + name + ".xml";
        if (LineServer.class.getClassLoader().getResource(context) == null) {
            fail(1, context + " is not on the class path: start with -cp \"conf/:lib/*:...\" beside its conf directory");
        }
    }

    public String get(String key, String otherwise) {
        return conf.getProperty(key, otherwise).trim();
    }

    public void log(String message) {
        System.out.println(LocalDateTime.now().withNano(0) + " " + name + " " + message);
    }

    /** What a component of the sample says; with a question, what it says to that. */
    public static String ask(String host, String port, String question) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, Integer.parseInt(port)), LINGER_MILLIS);
            socket.setSoTimeout(5 * LINGER_MILLIS);
            BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
            String said = reader.readLine();
            if (!question.isEmpty()) {
                socket.getOutputStream().write((question + "\n").getBytes(StandardCharsets.UTF_8));
                said = reader.readLine();
            }
            return said == null ? "error: " + host + ":" + port + " says nothing" : said;
        } catch (IOException failed) {
            throw new IOException(host + ":" + port + ": " + failed.getMessage(), failed);
        }
    }

    /** Serves on the port that the property names, until SIGTERM; knows nobody else. */
    public void serve(String portKey) throws IOException {
        serve(portKey, question -> "error: " + name + " connects to no " + question);
    }

    public void serve(String portKey, Answers answers) throws IOException {
        int port = port(portKey);
        try (ServerSocket socket = new ServerSocket(port)) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
            log("1.1 listening on port " + port);
            while (true) {
                Socket client = socket.accept();
                Thread answer = new Thread(() -> answer(client, answers));
                answer.setDaemon(true);
                answer.start();
            }
        }
    }

    private void answer(Socket client, Answers answers) {
        try (Socket open = client) {
            open.setSoTimeout(LINGER_MILLIS);
            open.getOutputStream().write((name + " 1.1 ok\n").getBytes(StandardCharsets.US_ASCII));
            BufferedReader reader = new BufferedReader(new InputStreamReader(open.getInputStream(), StandardCharsets.UTF_8));
            String question = reader.readLine();
            if (question != null) {
                open.getOutputStream().write((said(answers, question) + "\n").getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException gone) {
            // A client that hangs up, or stays silent, is served all the same.
        }
    }

    private String said(Answers answers, String question) {
        try {
            return answers.to(question);
        } catch (Exception failed) {
            log(question + ": " + failed);
            return "error: " + failed.getMessage().split("\n")[0];
        }
    }

    private String confFile(String[] args) {
        try {
            CommandLine line = new DefaultParser().parse(new Options().addRequiredOption("c", "config", true, ""), args);
            return line.getOptionValue("c");
        } catch (ParseException wrong) {
            fail(2, wrong.getMessage() + "; usage: -c FILE");
            return null;
        }
    }

    private Properties load(String path) {
        Properties read = new Properties();
        try (Reader reader = new FileReader(path)) {
            read.load(reader);
        } catch (IOException missing) {
            fail(1, "cannot read " + new File(path).getAbsolutePath() + ": " + missing.getMessage());
        }
        return read;
    }

    private int port(String key) {
        try {
            return Integer.parseInt(get(key, ""));
        } catch (NumberFormatException wrong) {
            fail(1, key + " is not a port: \"" + get(key, "") + "\"");
            return 0;
        }
    }

    private void fail(int code, String message) {
        System.err.println(name + ": error: " + message);
        System.exit(code);
    }
}
