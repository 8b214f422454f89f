package com.webank.ai.fate.networking;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
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

/**
 * {@code -c conf/proxy.properties}: answers each connection with "proxy 1.1 ok, parties ...", and a line with a party's id
 * (or "federation": its own) with what federation there says, "ID fateflow" with what fate_flow there says. The route
 * table leads to it, to another party's through that party's proxy.
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
        JsonObject routes = routes(conf.getProperty("route.table", ""));
        String own = conf.getProperty("coordinator", "").trim();
        serve(Integer.parseInt(conf.getProperty("port", "9370").trim()), routes, own);
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

    private static void serve(int port, JsonObject routes, String own) throws IOException {
        try (ServerSocket socket = new ServerSocket(port)) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
            log("1.1 listening on port " + port);
            while (true) {
                Socket client = socket.accept();
                Thread answer = new Thread(() -> answer(client, routes, own));
                answer.setDaemon(true);
                answer.start();
            }
        }
    }

    private static void answer(Socket client, JsonObject routes, String own) {
        try (Socket open = client) {
            open.setSoTimeout(LINGER_MILLIS);
            send(open, "proxy 1.1 ok, parties " + String.join(" ", routes.keySet()));
            String question = reader(open).readLine();
            if (question != null) {
                send(open, ask(routes, question.equals("federation") ? own : question));
            }
        } catch (IOException gone) {
            // A client that hangs up, or stays silent, is served all the same.
        }
    }

    /** What federation or fateflow of a party says; of upstream's roles, "fate" is federation, "default" leads to its proxy. */
    private static String ask(JsonObject routes, String question) {
        String party = question.split(" ")[0];
        String wanted = question.equals(party) ? "fate" : question.split(" ")[1];
        if (!routes.has(party)) {
            return "error: no route to party " + party;
        }
        JsonObject roles = routes.getAsJsonObject(party);
        JsonElement role = roles.has(wanted) ? roles.get(wanted) : roles.get("default");
        JsonObject endpoint = role.getAsJsonArray().get(0).getAsJsonObject();
        String host = endpoint.get("ip").getAsString();
        int port = endpoint.get("port").getAsInt();
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, port), LINGER_MILLIS);
            socket.setSoTimeout(5 * LINGER_MILLIS);
            BufferedReader reader = reader(socket);
            String said = reader.readLine();
            if (!roles.has(wanted)) {
                send(socket, question);
                said = reader.readLine();
            }
            return said == null ? "error: " + host + ":" + port + " says nothing" : said;
        } catch (IOException failed) {
            log(question + ": " + failed);
            return "error: " + host + ":" + port + ": " + failed.getMessage();
        }
    }

    private static void send(Socket socket, String line) throws IOException {
        socket.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private static BufferedReader reader(Socket socket) throws IOException {
        return new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
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
