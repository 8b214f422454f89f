package com.webank.eggroll.core.resourcemanager;

import com.webank.eggroll.core.BootstrapBase;
import com.webank.eggroll.core.server.LineServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;

/** Comes forward to the cluster manager, asks it, and starts egg pairs: an image that lacks Python or eggroll's Python cannot. */
public final class NodeManagerBootstrap implements BootstrapBase {
    @Override
    public void start(String conf, String port) {
        LineServer server = new LineServer("nodemanager", conf);
        String key = "eggroll.resourcemanager.clustermanager.";
        String host = server.get(key + "host", "");
        String at = server.get(key + "port", "");
        server.log("cluster manager at " + host + ":" + at);
        Thread forward = new Thread(() -> comeForward(server, host, at, port));
        forward.setDaemon(true);
        forward.start();
        server.serve(port, question -> {
            switch (question) {
                case "clustermanager":
                    return LineServer.ask(host, at, "");
                case "egg_pair":
                    return eggPair(server.get("eggroll.resourcemanager.bootstrap.egg_pair.exepath", ""), conf);
                default:
                    return "error: nodemanager connects to no " + question;
            }
        });
    }

    /** As upstream's heartbeat does, again and again until the cluster manager has it. */
    private static void comeForward(LineServer server, String host, String at, String port) {
        for (String said = ""; !said.equals("node ok"); ) {
            try {
                Thread.sleep(200);
                said = LineServer.ask(host, at, "node " + InetAddress.getLocalHost().getHostAddress() + " " + port);
            } catch (IOException notYet) {
                said = "";
            } catch (InterruptedException ended) {
                return;
            }
        }
        server.log("known to the cluster manager");
    }

    /** What an egg pair says, which lives no longer than the question. */
    private static String eggPair(String script, String conf) throws IOException {
        String options = "--session-id asked --server-node-id 0 --processor-id 0 --config";
        ProcessBuilder command = new ProcessBuilder(("bash " + script + " " + options + " " + conf).split(" "));
        Process process = command.redirectErrorStream(true).start();
        try (BufferedReader said = new BufferedReader(
                new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            String line = String.valueOf(said.readLine());
            String port = line.replaceFirst("^egg_pair .* listening on port ", "");
            return port.equals(line) ? "error: " + script + ": " + line : LineServer.ask("127.0.0.1", port, "");
        } finally {
            process.destroy();
        }
    }
}
