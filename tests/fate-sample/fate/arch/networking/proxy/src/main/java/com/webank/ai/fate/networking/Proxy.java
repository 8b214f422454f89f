package com.webank.ai.fate.networking;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.io.Reader;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.Properties;

/**
 * {@code -c conf/proxy.properties}: answers each connection with "proxy 1.1 ok, parties ...".
 *
 * <p>Upstream's proxy depends on no other module of FATE or eggroll, so neither does this one: what it shares with
 * eggroll's LineServer (conf, exit codes, how it stops) is written twice.
 */
public final class Proxy {
    private static final int LINGER_MILLIS = 1000;

    private Proxy() {}

    public static void main(String[] args) throws IOException {
        if (args.length != 2 || !args[0].equals("-c")) {
            fail(2, "usage: -c FILE");
        }
        Properties conf = new Properties();
        try (Reader reader = open(args[1])) {
            conf.load(reader);
        }
        if (Proxy.class.getClassLoader().getResource("applicationContext-proxy.xml") == null) {
            fail(1, "applicationContext-proxy.xml is not on the class path: start with -cp \"conf/:lib/*:...\"");
        }
        String line = "proxy 1.1 ok, parties " + String.join(" ", routes(conf.getProperty("route.table", "")).keySet());
        serve(Integer.parseInt(conf.getProperty("port", "9370").trim()), line);
    }

    private static JsonObject routes(String path) throws IOException {
        try (Reader reader = open(path)) {
            JsonObject table = JsonParser.parseReader(reader).getAsJsonObject().getAsJsonObject("route_table");
            if (table != null) {
                return table;
            }
            fail(1, path + " has no \"route_table\"");
        } catch (JsonParseException | IllegalStateException wrong) {
            fail(1, path + " is not a route table: " + wrong.getMessage());
        }
        return null;
    }

    private static void serve(int port, String line) throws IOException {
        try (ServerSocket socket = new ServerSocket(port)) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
            log("1.1 listening on port " + port);
            while (true) {
                Socket client = socket.accept();
                Thread answer = new Thread(() -> answer(client, line));
                answer.setDaemon(true);
                answer.start();
            }
        }
    }

    private static void answer(Socket client, String line) {
        try (Socket open = client) {
            open.setSoTimeout(LINGER_MILLIS);
            open.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
            open.shutdownOutput();
            open.getInputStream().read(new byte[1024]);
        } catch (IOException gone) {
            // A client that hangs up, or stays silent, is served all the same.
        }
    }

    private static Reader open(String path) {
        try {
            return new FileReader(path);
        } catch (IOException missing) {
            fail(1, "cannot read " + new File(path).getAbsolutePath() + ": " + missing.getMessage());
            return null;
        }
    }

    private static void log(String message) {
        System.out.println(LocalDateTime.now().withNano(0) + " proxy " + message);
    }

    private static void fail(int code, String message) {
        System.err.println("proxy: error: " + message);
        System.exit(code);
    }
}
