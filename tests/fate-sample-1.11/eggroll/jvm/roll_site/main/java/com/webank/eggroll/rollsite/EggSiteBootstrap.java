package com.webank.eggroll.rollsite;

import com.webank.eggroll.core.server.LineServer;
import com.webank.eggroll.rollpair.StoreTypes;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.Options;

/**
 * {@code -c conf/eggroll.properties}: answers a line with a party's id (or "fateflow": its own) with what fateflow there
 * says. The route table leads to it, to another party's through that party's rollsite.
 */
public final class EggSiteBootstrap {
    private static final String NAME = "rollsite";

    private EggSiteBootstrap() {}

    public static void main(String[] args) {
        CommandLine line = LineServer.parse(NAME, new Options().addRequiredOption("c", "config", true, ""), args);
        LineServer server = new LineServer(NAME, line.getOptionValue("c"));
        server.log("stores " + Arrays.toString(StoreTypes.values()));
        Map<?, ?> routes = routes(server.get("eggroll.rollsite.route.table.path", "conf/route_table.json"));
        server.log("routes to " + routes.keySet());
        String own = server.get("eggroll.rollsite.party.id", "");
        server.serve(server.get("eggroll.rollsite.port", "9370"),
                question -> ask(routes, question.equals("fateflow") ? own : question));
    }

    private static Map<?, ?> routes(String path) {
        try {
            String text = new String(Files.readAllBytes(Paths.get(path)), StandardCharsets.UTF_8);
            Map<?, ?> table = (Map<?, ?>) ((Map<?, ?>) Json.read(text)).get("route_table");
            if (table != null) {
                return table;
            }
            LineServer.fail(NAME, 1, path + " has no \"route_table\"");
        } catch (IOException missing) {
            LineServer.fail(NAME, 1, "cannot read " + new File(path).getAbsolutePath());
        } catch (IllegalArgumentException | ClassCastException wrong) {
            LineServer.fail(NAME, 1, path + " is not a route table: " + wrong.getMessage());
        }
        return null;
    }

    /** As upstream's roles, "fateflow" is the party's own and "default" leads to its rollsite; so for an unknown party. */
    private static String ask(Map<?, ?> routes, String party) throws IOException {
        Map<?, ?> roles = (Map<?, ?>) (routes.containsKey(party) ? routes.get(party) : routes.get("default"));
        if (roles == null) {
            return "error: no route to party " + party;
        }
        boolean here = roles.containsKey("fateflow");
        Map<?, ?> endpoint = (Map<?, ?>) ((List<?>) roles.get(here ? "fateflow" : "default")).get(0);
        return LineServer.ask((String) endpoint.get("ip"), (String) endpoint.get("port"), here ? "" : party);
    }
}
