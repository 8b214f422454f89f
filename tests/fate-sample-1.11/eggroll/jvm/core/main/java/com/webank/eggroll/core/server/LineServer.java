package com.webank.eggroll.core.server;

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
 * The server of eggroll's processes: whoever connects gets one line, "NAME 2.5.3 ok". Who then sends the name of another
 * one gets a second line: what that one says to this one, which connects to it by its configuration.
 *
 * <p>It wants its properties file and the one that log4j.configurationFile names (both relative to the working
 * directory). A process shipped without its conf/ therefore ends with exit code 1, a wrong command line with 2.
 */
public final class LineServer {
    private static final String VERSION = "2.5.3";
    private static final int LINGER_MILLIS = 1000;

    private final String name;
    private final Properties conf = new Properties();

    /** What a process answers to a line: the line of the one that it names. */
    public interface Answers {
        String to(String question) throws Exception;
    }

    /** Reads the configuration, or ends the process with a message. */
    public LineServer(String name, String path) {
        this.name = name;
        String logging = System.getProperty("log4j.configurationFile");
        if (logging == null) {
            fail(name, 1, "-Dlog4j.configurationFile=FILE is missing");
        }
        try (Reader conf = new FileReader(path); Reader found = new FileReader(logging)) {
            this.conf.load(conf);
        } catch (IOException missing) {
            fail(name, 1, "in " + new File("").getAbsolutePath() + ": cannot read " + missing.getMessage());
        }
    }

    /** The command line, or the end of the process. */
    public static CommandLine parse(String name, Options options, String[] args) {
        try {
            return new DefaultParser().parse(options, args);
        } catch (ParseException wrong) {
            fail(name, 2, wrong.getMessage());
            return null;
        }
    }

    public static void fail(String name, int code, String message) {
        System.err.println(name + ": error: " + message);
        System.exit(code);
    }

    public String get(String key, String otherwise) {
        return conf.getProperty(key, otherwise).trim();
    }

    public void log(String message) {
        System.out.println(LocalDateTime.now().withNano(0) + " " + name + " " + message);
    }

    /** What another process says; with a question, what it says to that. */
    public static String ask(String host, String port, String question) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, Integer.parseInt(port)), LINGER_MILLIS);
            socket.setSoTimeout(5 * LINGER_MILLIS);
            BufferedReader reader = reader(socket);
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

    /** Serves on the port until SIGTERM. */
    public void serve(String port, Answers answers) {
        try (ServerSocket socket = new ServerSocket(Integer.parseInt(port))) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
            log(VERSION + " listening on port " + port);
            while (true) {
                Socket client = socket.accept();
                Thread answer = new Thread(() -> answer(client, answers));
                answer.setDaemon(true);
                answer.start();
            }
        } catch (IOException | IllegalArgumentException failed) {
            fail(name, 1, "port " + port + ": " + failed.getMessage());
        }
    }

    private void answer(Socket client, Answers answers) {
        try (Socket open = client) {
            open.setSoTimeout(LINGER_MILLIS);
            open.getOutputStream().write((name + " " + VERSION + " ok\n").getBytes(StandardCharsets.US_ASCII));
            String question = reader(open).readLine();
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
            return "error: " + String.valueOf(failed.getMessage()).split("\n")[0];
        }
    }

    private static BufferedReader reader(Socket socket) throws IOException {
        return new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
    }
}
